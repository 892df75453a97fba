//! What an action must be asked like.

use std::time::Duration;

use stillpoint_proto::{
    name::check_name,
    v1::{
        ManageRequest, Reason, Selection, StoreError, manage_request::Action, reload_fleet::Step,
    },
};

use super::{action::AskOptions, selection};
use crate::{service::session::asked::shortened, store::Store};

/// What is asked, checked.
#[derive(Debug)]
pub struct Order {
    /// Of which processes.
    pub selection: Selection,
    /// Who asks, for people; may be empty.
    pub actor: String,
    /// How they are asked.
    pub options: AskOptions,
    /// Only tell which they would be.
    pub dry_run: bool,
    /// What.
    pub action: Action,
}

/// Longest time that a process can be given.
const TIMEOUT_MS_MAX: u64 = 86_400_000;

/// Most bytes of the name that somebody gives himself.
const ACTOR_BYTES_MAX: usize = 128;

/// Most bytes of a text for processes or their people.
const TEXT_BYTES_MAX: usize = 4096;

/// Most bytes of such a text where it stands in the description of an action.
const DESCRIBED_BYTES_MAX: usize = 200;

impl Order {
    /// Checks a request.
    pub fn new(store: &Store, request: ManageRequest) -> Result<Order, StoreError> {
        let selection = request.selection.unwrap_or_default();
        selection::check(&selection)?;
        text("name of who asks", &request.actor, ACTOR_BYTES_MAX)?;
        let action = (request.action)
            .ok_or_else(|| invalid("the request asks for nothing: set one of its actions"))?;
        check(store, &action)?;
        let restarts = matches!(action, Action::Restart(_));
        let options = AskOptions {
            parallel: match request.parallel as usize {
                0 if restarts => 1,
                parallel => parallel,
            },
            stop_on_error: request.stop_on_error || restarts,
            stop_when_unheard: true,
            timeout: duration(
                "timeout_ms",
                request.timeout_ms,
                store.config().management.timeout_ms,
            )?,
            actor: request.actor.clone(),
        };
        Ok(Order {
            selection,
            actor: request.actor,
            options,
            dry_run: request.dry_run,
            action,
        })
    }

    /// What is asked, in an operator's words.
    pub fn describe(&self) -> String {
        let with = |what: &str, text: &str| match text {
            "" => what.to_owned(),
            text => format!("{what}: {}", shortened(text.into(), DESCRIBED_BYTES_MAX)),
        };
        match &self.action {
            Action::Command(command) => format!("command {}", command.name),
            Action::Notice(notice) => with("notice", &notice.message),
            Action::Drain(_) => "drain".into(),
            Action::Evict(evict) => with("evict", &evict.reason),
            Action::Reload(reload) => match reload.step() {
                Step::Unspecified => "reload".into(),
                Step::Plan => "reload plan".into(),
                Step::Apply => "reload apply".into(),
                Step::Rollback => "reload rollback".into(),
                Step::Status => "reload status".into(),
            },
            Action::Restart(_) => "restart".into(),
        }
    }

    /// Whether two of the kind would get into each other's way.
    pub fn is_exclusive(&self) -> bool {
        match &self.action {
            Action::Reload(reload) => matches!(reload.step(), Step::Apply | Step::Rollback),
            Action::Restart(_) => true,
            Action::Command(_) | Action::Notice(_) | Action::Drain(_) | Action::Evict(_) => false,
        }
    }
}

fn check(store: &Store, action: &Action) -> Result<(), StoreError> {
    match action {
        Action::Command(command) => {
            check_name("command", &command.name).map_err(invalid)?;
            value(store, "the command's arguments", &command.arguments)
        }
        Action::Notice(notice) => {
            if notice.message.is_empty() && notice.payload.is_empty() {
                return Err(invalid(
                    "the notice says nothing: give it a message or a payload",
                ));
            }
            text("message", &notice.message, TEXT_BYTES_MAX)?;
            value(store, "the notice's payload", &notice.payload)
        }
        Action::Evict(evict) => text("reason", &evict.reason, TEXT_BYTES_MAX),
        Action::Reload(reload) => {
            if matches!(Step::try_from(reload.step), Err(_) | Ok(Step::Unspecified)) {
                return Err(invalid(format!(
                    "unknown step {} of a reload: plan, apply, rollback or status",
                    reload.step
                )));
            }
            value(store, "the reload's options", &reload.options)
        }
        Action::Restart(restart) => {
            let default_ms = store.config().management.successor_ms;
            duration("successor_ms", restart.successor_ms, default_ms).map(drop)
        }
        Action::Drain(_) => Ok(()),
    }
}

fn value(store: &Store, what: &str, value: &[u8]) -> Result<(), StoreError> {
    if value.is_empty() {
        return Ok(());
    }
    store.check_value(value).map_err(|mut error| {
        error.message = format!("{what}: {}", error.message);
        error
    })
}

fn text(what: &str, text: &str, bytes_max: usize) -> Result<(), StoreError> {
    if text.len() > bytes_max {
        return Err(invalid(format!(
            "the {what} has {} bytes: use at most {bytes_max}",
            text.len()
        )));
    }
    Ok(())
}

/// A time in milliseconds; 0: the default.
pub fn duration(what: &str, asked_ms: u64, default_ms: u64) -> Result<Duration, StoreError> {
    match asked_ms {
        0 => Ok(Duration::from_millis(default_ms)),
        1..=TIMEOUT_MS_MAX => Ok(Duration::from_millis(asked_ms)),
        _ => Err(invalid(format!(
            "{what} is {asked_ms}: use at most {TIMEOUT_MS_MAX}, a day"
        ))),
    }
}

fn invalid(message: impl Into<String>) -> StoreError {
    StoreError::new(Reason::Invalid, message)
}

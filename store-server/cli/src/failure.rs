//! What is printed when a command fails, and the exit code.

use std::{fmt, io, process::ExitCode};

use rmpv::Value;
use stillpoint_proto::v1::{ActionOutcome, Reason, StoreError};
use stillpoint_store_server::backup::BackupError;

use crate::{
    address::Address,
    record::{object, record_value},
};

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    reason: String,
    message: String,
    hint: Option<String>,
    store: Option<Box<StoreError>>,
}

/// The exit code of a failed command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// The reader of our output has gone, which is its right: `stillpoint scan player | head`.
    Quiet,
    /// The store, the machine, or a process that was asked failed.
    Operation,
    /// What was typed, or a file that was named, is wrong.
    Usage,
    /// The record, the action, the backup or the moment does not exist, a guard failed, or records cannot be migrated.
    Refused,
    /// Processes run different programs.
    Mixed,
    /// No process fulfils the selection.
    Nobody,
}

impl Exit {
    fn code(self) -> u8 {
        match self {
            Exit::Quiet => 0,
            Exit::Operation => 1,
            Exit::Usage => 2,
            Exit::Refused | Exit::Mixed => 3,
            Exit::Nobody => 4,
        }
    }
}

impl Failure {
    fn new(exit: Exit, reason: &str, message: impl fmt::Display) -> Self {
        Failure {
            exit,
            reason: reason.into(),
            message: message.to_string(),
            hint: None,
            store: None,
        }
    }

    /// The store or the machine failed.
    pub fn operation(message: impl fmt::Display) -> Self {
        Self::new(Exit::Operation, "failed", message)
    }

    /// What was typed, or a file that was named, is wrong.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    /// The command line cannot be read.
    pub fn command_line(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        Self::usage(text.trim().trim_start_matches("error: "))
    }

    /// The record does not exist.
    pub fn not_found(address: &Address) -> Self {
        Self::new(
            Exit::Refused,
            "not_found",
            format_args!("{address} does not exist"),
        )
    }

    /// Nobody owns the record.
    pub fn not_owned(address: &Address) -> Self {
        Self::new(
            Exit::Refused,
            "not_owned",
            format_args!("nobody owns {address}"),
        )
    }

    /// What operators did once, and is not to be found.
    pub fn no_action(id: &str, namespace: &str) -> Self {
        let message = format_args!("namespace {namespace} has no action {id}");
        Self::new(Exit::Refused, "not_found", message)
    }

    /// No commit that is known wrote the record.
    pub fn no_history(message: impl fmt::Display) -> Self {
        Self::new(Exit::Refused, "not_found", message)
    }

    /// Records cannot be migrated.
    pub fn records_failed(message: impl fmt::Display) -> Self {
        Self::new(Exit::Refused, "migration_failed", message)
    }

    /// Records cannot be migrated, and the rest was done.
    pub fn of_records(message: impl fmt::Display) -> Self {
        Self::new(Exit::Operation, "migration_failed", message)
    }

    /// An action on processes did not end as it should.
    pub fn of_action(outcome: ActionOutcome, message: impl fmt::Display) -> Self {
        let (exit, reason) = match outcome {
            ActionOutcome::Mixed => (Exit::Mixed, "mixed"),
            ActionOutcome::Nobody => (Exit::Nobody, "nobody"),
            ActionOutcome::RolledBack => (Exit::Operation, "rolled_back"),
            _ => (Exit::Operation, "failed"),
        };
        Self::new(exit, reason, message)
    }

    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// Whether the store refused for this reason.
    pub fn is(&self, reason: Reason) -> bool {
        self.store
            .as_ref()
            .is_some_and(|store| store.reason() == reason)
    }

    /// The store ended an answer that had more to come.
    pub fn cut_off(message: &str) -> Self {
        StoreError::new(Reason::Unavailable, message).into()
    }

    /// Whether the store could not be reached, or went away: it may come back.
    pub fn is_of_connection(&self) -> bool {
        self.is(Reason::Unavailable) || self.is(Reason::DeadlineExceeded)
    }

    /// Says before the message where it happened, e.g. `line 17`.
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// Prints it to stderr and gives the exit code.
    pub fn report(&self, json: bool) -> ExitCode {
        if self.exit != Exit::Quiet {
            if json {
                let error = object([("error", self.to_value())]);
                eprintln!("{}", crate::json::to_string(&error, false));
            } else {
                eprint!("{}", crate::output::harmless(&self.to_string()));
            }
        }
        ExitCode::from(self.exit.code())
    }

    /// What programs get.
    fn to_value(&self) -> Value {
        let mut entries = vec![
            ("reason", Value::from(self.reason.as_str())),
            ("message", self.message.as_str().into()),
        ];
        if let Some(hint) = &self.hint {
            entries.push(("hint", hint.as_str().into()));
        }
        if let Some(store) = &self.store {
            entries.push(("retryable", store.retryable.into()));
            entries.push(("maybe_applied", store.maybe_applied.into()));
            if let Some(key) = &store.key {
                entries.push(("record", Address::from(key).to_string().into()));
            }
            if store.reason() == Reason::VersionConflict {
                let current = store.current.as_ref().map(record_value);
                entries.push((
                    "current",
                    current.and_then(Result::ok).unwrap_or(Value::Nil),
                ));
            }
        }
        object(entries)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.message)?;
        if let Some(current) = self.store.as_ref().and_then(|store| store.current.as_ref()) {
            writeln!(f, "note: the record is at revision {}", current.mod_rev)?;
        }
        match &self.hint {
            Some(hint) => writeln!(f, "hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let reason = error.reason();
        let exit = match reason {
            Reason::VersionConflict | Reason::BoundViolation | Reason::NotFound => Exit::Refused,
            _ => Exit::Operation,
        };
        let hint = match reason {
            _ if error.maybe_applied => Some(
                "the write may have been applied all the same: read the record before you repeat it",
            ),
            Reason::DeadlineExceeded => Some("give it more time with --deadline"),
            _ => None,
        };
        let mut failure = Self::new(exit, &reason.name().to_lowercase(), &error.message);
        failure.hint = hint.map(Into::into);
        failure.store = Some(Box::new(error));
        failure
    }
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        let (exit, reason) = match &error {
            BackupError::Url { .. }
            | BackupError::Into { .. }
            | BackupError::KeyFile { .. }
            | BackupError::Key { .. } => (Exit::Usage, "usage"),
            BackupError::NoBackup { .. } | BackupError::NotCovered { .. } => {
                (Exit::Refused, "not_found")
            }
            BackupError::Missing { .. }
            | BackupError::Damaged { .. }
            | BackupError::Unsound { .. }
            | BackupError::Differs { .. } => (Exit::Operation, "damaged"),
            _ => (Exit::Operation, "failed"),
        };
        Self::new(exit, reason, error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::BrokenPipe => Exit::Quiet,
            _ => Exit::Operation,
        };
        Self::new(exit, "io", error)
    }
}

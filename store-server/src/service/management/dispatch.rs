//! Asking one process.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use stillpoint_proto::v1::{Command, CommandError, OperatorNotice, ProcessRef};
use tokio::time::{Instant, sleep_until};

use crate::{
    service::session::{
        SessionKey,
        asked::{Asked, Heard, Line, Refused},
        hub::Hub,
    },
    store::session::{Session, identity},
};

/// A logic process: the holder that a session had when it was selected.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its session.
    pub key: SessionKey,
    /// Its service.
    pub service: String,
    /// Its instance.
    pub instance: String,
    /// Its fence: tells it from its predecessors and successors.
    pub fence: u64,
    /// As it said when it opened the session.
    pub code_version: String,
    /// Whether it was there when it was selected.
    pub attached: bool,
}

#[cfg(test)]
impl Process {
    /// One for unit tests.
    pub fn example(instance: &str) -> Process {
        Process {
            key: SessionKey {
                namespace: "world".into(),
                id: "battle/x/1".into(),
            },
            service: "battle".into(),
            instance: instance.into(),
            fence: 7,
            code_version: String::new(),
            attached: true,
        }
    }
}

impl Process {
    /// The holder of a session.
    pub fn new(namespace: &Arc<str>, session: &Session, attached: bool) -> Process {
        Process {
            key: SessionKey {
                namespace: namespace.clone(),
                id: session.id.clone(),
            },
            service: session.service.clone(),
            instance: session.instance.clone(),
            fence: session.fence,
            code_version: session.code_version.clone(),
            attached,
        }
    }

    /// As operators are told of it.
    pub fn to_ref(&self) -> ProcessRef {
        ProcessRef {
            service: self.service.clone(),
            instance: self.instance.clone(),
            fence: self.fence,
            code_version: self.code_version.clone(),
        }
    }

    /// Whether it is that one, and not one before or after it in the same session.
    pub fn is_same(&self, other: &Process) -> bool {
        self.key == other.key && self.fence == other.fence
    }

    /// `service/instance`.
    pub fn identity(&self) -> String {
        identity(&self.service, &self.instance)
    }
}

/// What is heard of a process. All but the first two are the last word.
#[derive(Clone, Debug, PartialEq)]
pub enum Word {
    /// It has what was asked, and has not begun.
    Delivered,
    /// It has begun: how far it is.
    Progress(String),
    /// It is done: one MessagePack value, or nothing.
    Ok(Bytes),
    /// It failed.
    Failed(CommandError),
    /// It is not there (any more): what is known of that.
    Gone(String),
    /// It has not answered in time: what is known of that.
    TimedOut(String),
    /// It was not asked: why.
    Skipped(String),
}

impl Word {
    /// Whether nothing comes after it.
    pub fn is_last(&self) -> bool {
        !matches!(self, Word::Delivered | Word::Progress(_))
    }

    /// Whether what was asked is done.
    pub fn is_ok(&self) -> bool {
        matches!(self, Word::Ok(_))
    }

    /// That it failed, for a reason that the server knows.
    pub fn failed(message: impl Into<String>) -> Word {
        Word::Failed(CommandError {
            message: message.into(),
            ..CommandError::default()
        })
    }
}

/// What somebody asked of a process and waits for. Dropped before the last word, it is forgotten: an answer that comes
/// later is ignored. The process is not told; it may still do what was asked.
#[derive(Debug)]
pub struct Conversation {
    process: Process,
    hub: Arc<Hub>,
    kind: Kind,
    /// None: it is over before it began.
    line: Result<Line, Refused>,
    told_delivered: bool,
    told_progress: u64,
    timeout: Duration,
    deadline: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Command,
    Notice,
}

/// Asks a process to run a command. Its answer is waited for until `timeout` has passed.
pub fn ask(
    hub: &Arc<Hub>,
    process: &Process,
    name: &str,
    arguments: Bytes,
    timeout: Duration,
    actor: &str,
) -> Conversation {
    Conversation::begin(hub, process, Kind::Command, timeout, |command_id| {
        Asked::Command(Command {
            command_id,
            name: name.into(),
            arguments,
            timeout_ms: timeout.as_millis() as u64,
            actor: actor.into(),
        })
    })
}

/// Tells a process something. It is done when the process's stream has it; `timeout` counts for a process that does not
/// read.
pub fn notify(
    hub: &Arc<Hub>,
    process: &Process,
    notice: OperatorNotice,
    timeout: Duration,
) -> Conversation {
    Conversation::begin(hub, process, Kind::Notice, timeout, |_| {
        Asked::Notice(notice)
    })
}

impl Conversation {
    fn begin(
        hub: &Arc<Hub>,
        process: &Process,
        kind: Kind,
        timeout: Duration,
        what: impl FnOnce(u64) -> Asked,
    ) -> Conversation {
        Conversation {
            line: hub.ask(&process.key, process.fence, what),
            process: process.clone(),
            hub: hub.clone(),
            kind,
            told_delivered: false,
            told_progress: 0,
            timeout,
            deadline: Instant::now() + timeout,
        }
    }

    /// The next word. After the last one it is not called again.
    pub async fn next(&mut self) -> Word {
        loop {
            let line = match &mut self.line {
                Ok(line) => line,
                Err(refused) => return refusal(&self.hub, &self.process, *refused),
            };
            let heard = line.heard.borrow_and_update().clone();
            if heard.delivered && !self.told_delivered && heard.progress == 0 {
                self.told_delivered = true;
                return Word::Delivered;
            }
            if heard.progress > self.told_progress {
                self.told_progress = heard.progress;
                return Word::Progress(heard.said);
            }
            match heard.end {
                Some(Ok(value)) => return self.checked(value),
                Some(Err(error)) => return Word::Failed(error),
                None => {}
            }
            tokio::select! {
                // What has come in time is heard.
                biased;
                changed = line.heard.changed() => {
                    if changed.is_err() {
                        return Word::Gone(whereabouts(&self.hub, &self.process));
                    }
                }
                () = sleep_until(self.deadline) => return Word::TimedOut(self.silence(&heard)),
            }
        }
    }

    /// An answer, if it can be one.
    fn checked(&self, value: Bytes) -> Word {
        if value.is_empty() {
            return Word::Ok(value);
        }
        match self.hub.store().check_value(&value) {
            Ok(()) => Word::Ok(value),
            Err(error) => Word::failed(format!("it is done, but its answer is no value: {error}")),
        }
    }

    /// What is known of a process that has not answered.
    fn silence(&self, heard: &Heard) -> String {
        let seconds = self.timeout.as_secs_f64();
        match (self.kind, heard.delivered, heard.progress) {
            (Kind::Notice, ..) => {
                format!(
                    "it has not read the notice within {seconds} s: its client is stopped or hangs"
                )
            }
            (Kind::Command, false, _) => format!(
                "nothing was heard of the command within {seconds} s: its client is stopped, hangs, or knows no commands"
            ),
            (Kind::Command, true, 0) => format!(
                "it has the command, and nothing was heard since within {seconds} s: its program does not poll, or is busy with it"
            ),
            (Kind::Command, true, _) => {
                format!(
                    "it began and did not end within {seconds} s; it said last: {}",
                    heard.said
                )
            }
        }
    }
}

/// Why something cannot be asked.
fn refusal(hub: &Hub, process: &Process, refused: Refused) -> Word {
    match refused {
        Refused::Absent => Word::Gone(whereabouts(hub, process)),
        Refused::Deaf => Word::Gone("it does not read what it is told: it was cut off".into()),
        Refused::Full => Word::failed(format!(
            "{} commands and notices are open with it, which is the limit (limits.commands): wait until it has done \
             them, or restart it",
            hub.store().config().limits.commands
        )),
    }
}

/// What is known of a process that is not there.
pub fn whereabouts(hub: &Hub, process: &Process) -> String {
    let index = hub.store().index();
    let Some(session) = index.session_of(&process.key.namespace, &process.identity()) else {
        return "it is not there: its session is over".into();
    };
    if session.fence != process.fence {
        return format!(
            "its session was taken over by {}, with fence {}",
            session.holder(),
            session.fence
        );
    }
    if hub.is_stopping() {
        return "the server stopped before it had answered".into();
    }
    if session.linger_ms.is_some() {
        return "it is not there: it left its session to a successor, which has not come yet"
            .into();
    }
    drop(index);
    let mut text = "it is not there: its connection was lost";
    hub.with_presence(&process.key, |presence| {
        if presence.attached().is_some() {
            text = "its connection was lost, and is back: what was asked may be done or not";
        } else if presence.is_held(Instant::now()) {
            text = "it is not there: it has not connected since it opened its session, or since the server started";
        }
    });
    text.into()
}

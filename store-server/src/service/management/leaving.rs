//! Processes that leave their sessions: because they are asked to, or without being asked.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use stillpoint_proto::v1::Reason;
use tokio::time::{Instant, timeout_at};

use super::{
    action::{AskOptions, Words},
    dispatch::{Conversation, Process, Word, ask, whereabouts},
};
use crate::{
    service::session::{hub::Hub, open::change_session},
    store::session::SessionChange,
};

/// The built-in command that lets a process save, leave its session and exit.
const DRAIN: &str = "drain";

/// Asks a process to leave. It has when its session shows it, whatever was heard of it.
pub fn drain(hub: &Arc<Hub>, process: &Process, options: &AskOptions) -> Words {
    let deadline = Instant::now() + options.timeout;
    let asked = ask(
        hub,
        process,
        DRAIN,
        Bytes::new(),
        options.timeout,
        &options.actor,
    );
    let leaving = Leaving {
        hub: hub.clone(),
        process: process.clone(),
        asked,
        deadline,
    };
    let going_on = stream::unfold(Some(leaving), |leaving| async {
        let mut leaving = leaving?;
        let word = leaving.next().await;
        let rest = (!word.is_last()).then_some(leaving);
        Some((word, rest))
    });
    going_on.boxed()
}

struct Leaving {
    hub: Arc<Hub>,
    process: Process,
    asked: Conversation,
    deadline: Instant,
}

impl Leaving {
    async fn next(&mut self) -> Word {
        match self.asked.next().await {
            // One that has exited cannot say so.
            Word::Gone(_) if self.process.attached && has_left(&self.hub, &self.process) => {
                Word::Ok(Bytes::new())
            }
            Word::Ok(value) => match timeout_at(self.deadline, left(&self.hub, &self.process)).await
            {
                Ok(()) => Word::Ok(value),
                Err(_) => Word::TimedOut(
                    "it has answered that it leaves, and still has its session: its program does not end, or cannot save"
                        .into(),
                ),
            },
            word => word,
        }
    }
}

/// Whether a process has left its session, or has lost it: it can write no more under it.
pub fn has_left(hub: &Hub, process: &Process) -> bool {
    let index = hub.store().index();
    let key = &process.key;
    index
        .check_fence(&key.namespace, &key.id, process.fence)
        .is_err()
}

/// Waits until a process has left its session, or has lost it.
pub async fn left(hub: &Hub, process: &Process) {
    loop {
        // Changes are told after the index shows them: what comes later than this look is told to `changed`.
        let mut changed = None;
        hub.with_presence(&process.key, |presence| {
            changed = Some(presence.changed.subscribe());
        });
        if has_left(hub, process) {
            return;
        }
        match changed {
            // An error tells that the session is over, which the next look will show.
            Some(mut changed) => drop(changed.changed().await),
            // The hub knows sessions until they are over.
            None => return,
        }
    }
}

/// Ends a session; its process is told why.
pub async fn evict(hub: &Arc<Hub>, process: &Process, reason: String) -> Word {
    let key = &process.key;
    hub.will_end(key, process.fence, reason);
    let change = SessionChange::End {
        id: key.id.clone(),
        fence: process.fence,
    };
    match change_session(hub.store(), &key.namespace, change).await {
        Ok(_) => Word::Ok(Bytes::new()),
        Err(error) if [Reason::Fenced, Reason::SessionExpired].contains(&error.reason()) => {
            Word::Gone(whereabouts(hub, process))
        }
        Err(error) => {
            hub.will_not_end(key);
            Word::failed(error.message)
        }
    }
}

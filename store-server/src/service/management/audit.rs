//! What is written down of operators' actions: before anything is sent, and again at the end.
//!
//! An action that is under way is known here, and no further one that would get into its way is begun.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use stillpoint_proto::v1::{
    ActionOutcome, ActionRecord, ListActionsRequest, ManageResponse, ProcessUpdate, Reason,
    Selection, StoreError,
};
use tokio::sync::{
    mpsc::{UnboundedSender, WeakUnboundedSender},
    oneshot,
};
use uuid::Uuid;

use crate::{
    service::session::asked::shortened,
    store::{Store, server_time_ms},
};

/// Where actions are written down.
#[derive(Debug)]
pub struct Journal {
    store: Store,
    under_way: Mutex<HashMap<String, UnderWay>>,
}

/// An action that has not ended.
#[derive(Debug)]
struct UnderWay {
    selection: Selection,
    action: String,
    actor: String,
    /// No other such action may run with processes of the same service.
    exclusive: bool,
    /// The way to who asked for it, once there is one.
    caller: Option<WeakUnboundedSender<ManageResponse>>,
}

/// An action that was written down and has not ended.
#[derive(Debug)]
pub struct Record {
    journal: Arc<Journal>,
    namespace: String,
    begun: ActionRecord,
    expires_at_ms: u64,
}

/// What is to be written down of an action that begins.
#[derive(Debug)]
pub struct Begin {
    /// Who asks: as they call themselves.
    pub actor: String,
    /// Who asks: as the server knows them.
    pub peer: String,
    /// What.
    pub action: String,
    /// Of which processes.
    pub selection: Selection,
    /// The processes.
    pub processes: Vec<ProcessUpdate>,
    /// What it is done with, where that is no processes; else empty.
    pub subject: String,
    /// No other such action may run with processes of the same service.
    pub exclusive: bool,
}

/// Actions that may be under way. One more is refused.
const UNDER_WAY_MAX: usize = 64;

/// Processes that are written down with an action.
const PROCESSES_MAX: usize = 1000;

/// Most bytes of the message of one of them.
const MESSAGE_BYTES_MAX: usize = 512;

/// Most bytes of its traceback.
const TRACEBACK_BYTES_MAX: usize = 1024;

/// Most bytes of the messages and tracebacks of all of them: the more there are, the less is kept of each.
const TEXTS_BYTES_MAX: usize = 256 << 10;

/// Actions that are listed where the caller does not say how many.
const LISTED: usize = 100;

/// How long a caller should wait before it tries again.
const RETRY_AFTER_MS: u64 = 1000;

const DAY_MS: u64 = 86_400_000;

impl Journal {
    /// A journal in this store.
    pub fn new(store: Store) -> Arc<Journal> {
        Arc::new(Journal {
            store,
            under_way: Mutex::default(),
        })
    }

    /// Writes down that an action begins. It is durable when this returns.
    pub async fn begin(self: &Arc<Self>, begin: Begin) -> Result<Record, StoreError> {
        let begun_ms = server_time_ms();
        let begun = ActionRecord {
            action_id: Uuid::now_v7().to_string(),
            begun_ms,
            ended_ms: 0,
            actor: begin.actor.clone(),
            peer: begin.peer,
            action: begin.action.clone(),
            selection: Some(begin.selection.clone()),
            outcome: ActionOutcome::Unknown.into(),
            message: String::new(),
            processes: for_record(&begin.processes),
            subject: begin.subject,
        };
        let days = self.store.config().management.audit_days;
        self.enter(
            &begun.action_id,
            UnderWay {
                selection: begin.selection.clone(),
                action: begin.action,
                actor: begin.actor,
                exclusive: begin.exclusive,
                caller: None,
            },
        )?;
        // From here on it is under way until the record is dropped.
        let record = Record {
            journal: self.clone(),
            namespace: begin.selection.namespace,
            begun,
            expires_at_ms: begun_ms.saturating_add(days.saturating_mul(DAY_MS)),
        };
        record.write(&record.begun).await.map_err(|mut error| {
            error.message = format!(
                "the action cannot be written down, so it was not begun: {}",
                error.message
            );
            error
        })?;
        Ok(record)
    }

    fn enter(&self, id: &str, action: UnderWay) -> Result<(), StoreError> {
        let mut under_way = self.under_way.lock();
        if under_way.len() >= UNDER_WAY_MAX {
            let message = format!(
                "{UNDER_WAY_MAX} actions are under way, which is the limit: wait for the end of one"
            );
            return Err(later(message));
        }
        let mut others = under_way.values();
        if let Some(other) = others.find(|other| other.is_in_the_way_of(&action)) {
            let message = format!(
                "`{}` of {} is under way with processes of the same service: wait for its end",
                other.action,
                match other.actor.as_str() {
                    "" => "somebody",
                    actor => actor,
                }
            );
            return Err(later(message));
        }
        under_way.insert(id.into(), action);
        Ok(())
    }

    /// What was written down, newest first.
    pub fn list(&self, request: &ListActionsRequest) -> Result<Vec<ActionRecord>, StoreError> {
        let before = &request.before_action_id;
        if !before.is_empty() && Uuid::try_parse(before).is_err() {
            let message = format!("{before:?} is the number of no action: use one that was listed");
            return Err(StoreError::new(Reason::Invalid, message));
        }
        let limits = &self.store.config().limits;
        let count = match request.limit as usize {
            0 => LISTED.min(limits.scan_page),
            limit => limit.min(limits.scan_page),
        };
        let mut actions = self.store.actions(&request.namespace, before, count)?;
        let under_way = self.under_way.lock();
        for action in &mut actions {
            if action.ended_ms == 0 {
                let message = match under_way.get(&action.action_id) {
                    Some(action) if action.is_unheard() => "it is under way; its caller has left",
                    Some(_) => "it is under way",
                    None => "the server stopped before it ended",
                };
                action.message = message.into();
            }
        }
        Ok(actions)
    }
}

impl UnderWay {
    /// Whether its caller has left.
    fn is_unheard(&self) -> bool {
        let caller = self.caller.as_ref().and_then(WeakUnboundedSender::upgrade);
        caller.is_some_and(|caller| caller.is_closed())
    }

    fn is_in_the_way_of(&self, other: &UnderWay) -> bool {
        let (one, another) = (&self.selection, &other.selection);
        self.exclusive
            && other.exclusive
            && one.namespace == another.namespace
            && (one.service == another.service
                || one.service.is_empty()
                || another.service.is_empty())
    }
}

impl Record {
    /// The action's number.
    pub fn id(&self) -> &str {
        &self.begun.action_id
    }

    /// The caller is told through this.
    pub fn told_through(&self, caller: &UnboundedSender<ManageResponse>) {
        let mut under_way = self.journal.under_way.lock();
        if let Some(action) = under_way.get_mut(self.id()) {
            action.caller = Some(caller.downgrade());
        }
    }

    /// Writes down how the action ended.
    pub async fn end(
        &self,
        outcome: ActionOutcome,
        message: &str,
        processes: &[ProcessUpdate],
    ) -> Result<(), StoreError> {
        let ended = self.ended(outcome, message, processes);
        self.write(&ended).await
    }

    /// The end of the action, to be [written](write()) into another store; and until when it is kept, in milliseconds since
    /// 1970.
    pub fn leave(self, outcome: ActionOutcome, message: &str) -> (ActionRecord, u64) {
        (self.ended(outcome, message, &[]), self.expires_at_ms)
    }

    fn ended(
        &self,
        outcome: ActionOutcome,
        message: &str,
        processes: &[ProcessUpdate],
    ) -> ActionRecord {
        ActionRecord {
            ended_ms: server_time_ms(),
            outcome: outcome.into(),
            message: message.into(),
            processes: for_record(processes),
            ..self.begun.clone()
        }
    }

    async fn write(&self, action: &ActionRecord) -> Result<(), StoreError> {
        write(
            &self.journal.store,
            &self.namespace,
            action,
            self.expires_at_ms,
        )
        .await
    }
}

/// Writes an action down, to be kept until `expires_at_ms`. It is durable when this returns.
pub async fn write(
    store: &Store,
    namespace: &str,
    action: &ActionRecord,
    expires_at_ms: u64,
) -> Result<(), StoreError> {
    let (sender, receiver) = oneshot::channel();
    store.write_action(namespace, action, expires_at_ms, |result| {
        // Who has gone away wants no answer.
        drop(sender.send(result));
    });
    receiver.await.unwrap_or_else(|_| {
        let message = "the server stopped before it was written";
        Err(StoreError::new(Reason::Unavailable, message))
    })
}

impl Drop for Record {
    fn drop(&mut self) {
        let mut under_way = self.journal.under_way.lock();
        under_way.remove(&self.begun.action_id);
    }
}

fn later(message: String) -> StoreError {
    let mut error = StoreError::new(Reason::RateLimited, message);
    error.retry_after_ms = RETRY_AFTER_MS;
    error
}

/// What is written down of processes: no values, and no long texts.
fn for_record(processes: &[ProcessUpdate]) -> Vec<ProcessUpdate> {
    let count = processes.len().clamp(1, PROCESSES_MAX);
    let bytes_max = TEXTS_BYTES_MAX / count;
    let first = processes.iter().take(PROCESSES_MAX);
    let short = first.map(|update| {
        let left = bytes_max.saturating_sub(update.message.len());
        ProcessUpdate {
            value: Default::default(),
            message: shortened(update.message.clone(), bytes_max.min(MESSAGE_BYTES_MAX)),
            // Its first lines say where.
            traceback: match left {
                0 => String::new(),
                left => shortened(update.traceback.clone(), left.min(TRACEBACK_BYTES_MAX)),
            },
            ..update.clone()
        }
    });
    short.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(processes: usize) -> Vec<ProcessUpdate> {
        let update = ProcessUpdate {
            message: "it broke".into(),
            traceback: "at ".repeat(10_000),
            value: vec![1; 1000].into(),
            ..ProcessUpdate::default()
        };
        for_record(&vec![update; processes])
    }

    #[test]
    fn a_record_has_a_bound_however_many_processes_there_are_and_whatever_they_say() {
        let few = failed(2);
        assert_eq!(few[1].message, "it broke");
        assert!((1000..3000).contains(&few[1].traceback.len()));
        let many = failed(5000);
        assert_eq!(many.len(), PROCESSES_MAX);
        assert!(many[999].traceback.starts_with("at at"));
        let bytes: usize = (many.iter())
            .map(|update| update.message.len() + update.traceback.len() + update.value.len())
            .sum();
        // Each text that was cut says so.
        assert!(bytes < TEXTS_BYTES_MAX + 16 * PROCESSES_MAX, "{bytes}");
    }
}

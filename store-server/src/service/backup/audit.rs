//! Who asked for a job with backups, and how it ended: written down where all that operators ask is, and shown by
//! `stillpoint audit`.
//!
//! Unlike an action with processes, a job is done also where it cannot be written down: a store that takes no writes any more
//! is one whose backup is wanted most.

use std::sync::Arc;

use stillpoint_proto::v1::{ActionOutcome, ActionRecord, Selection};

use super::turn::Backups;
use crate::{
    service::management::audit::{self, Begin, Record},
    store::Store,
};

/// A job that somebody asks for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What, in the operator's words: `backup create`.
    pub what: &'a str,
    /// Who: as they call themselves.
    pub actor: &'a str,
    /// Who: as the server knows them.
    pub peer: &'a str,
    /// What it is done with: the target of a backup, the records that are restored.
    pub subject: &'a str,
    /// The namespace that is concerned; empty: the whole store.
    pub namespace: &'a str,
}

/// A job that was written down, if it could be.
#[derive(Debug)]
pub struct Written(Option<Record>);

/// The end of a job, to be written into the store that it has made.
#[derive(Debug)]
pub struct Carried {
    namespace: String,
    action: ActionRecord,
    expires_at_ms: u64,
}

/// How a job ended, in a sentence: well, or not.
pub type Outcome<'a> = Result<&'a str, &'a str>;

/// Writes down that a job begins; why it cannot be is logged.
pub async fn begin(backups: &Arc<Backups>, asked: Asked<'_>) -> Written {
    let Some(namespace) = backups.store.home_namespace(asked.namespace) else {
        return Written(None);
    };
    let begun = backups.journal().begin(Begin {
        actor: asked.actor.into(),
        peer: asked.peer.into(),
        action: asked.what.into(),
        selection: Selection {
            namespace,
            ..Selection::default()
        },
        processes: Vec::new(),
        subject: asked.subject.into(),
        exclusive: false,
    });
    let record = match begun.await {
        Ok(record) => Some(record),
        Err(error) => {
            tracing::warn!(what = asked.what, actor = asked.actor, %error, "a job is not in the audit");
            None
        }
    };
    Written(record)
}

impl Written {
    /// Writes down how the job ended.
    pub async fn end(self, outcome: Outcome<'_>) {
        let Some(record) = self.0 else {
            return;
        };
        let (outcome, message) = words(outcome);
        if let Err(error) = record.end(outcome, message, &[]).await {
            tracing::warn!(id = record.id(), %error, "the end of a job is not in the audit");
        }
    }

    /// The end of a job that replaces the store, for the new one: that does not know of the job otherwise. `None`: it was
    /// not written down.
    pub fn carry(self, outcome: Outcome<'_>) -> Option<Carried> {
        let (outcome, message) = words(outcome);
        let (action, expires_at_ms) = self.0?.leave(outcome, message);
        let selection = action.selection.clone().unwrap_or_default();
        Some(Carried {
            namespace: selection.namespace,
            action,
            expires_at_ms,
        })
    }
}

impl Carried {
    /// The job failed after all, for this reason: the store is the one that it was.
    pub fn fail(&mut self, why: &str) {
        self.action.outcome = ActionOutcome::Failed.into();
        self.action.message = why.into();
    }

    /// Writes it down.
    pub async fn write(self, store: &Store) {
        let Some(namespace) = store.home_namespace(&self.namespace) else {
            return;
        };
        let written = audit::write(store, &namespace, &self.action, self.expires_at_ms).await;
        if let Err(error) = written {
            tracing::warn!(id = self.action.action_id, %error, "the end of a job is not in the audit");
        }
    }
}

fn words(outcome: Outcome<'_>) -> (ActionOutcome, &str) {
    match outcome {
        Ok(message) => (ActionOutcome::Ok, message),
        Err(message) => (ActionOutcome::Failed, message),
    }
}

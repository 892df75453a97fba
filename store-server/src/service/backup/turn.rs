//! The one job with backups that may be under way: a backup, a pull, a verification, the removal of old ones, a restore.
//!
//! They would take the disk from each other, and a removal the files from a backup; so each takes its turn or is told who has it.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use stillpoint_proto::v1::{Reason, StoreError};
use tokio::sync::{Notify, mpsc, watch};

use super::{restore_store::Replacement, schedule::Scheduler};
use crate::{
    service::management::audit::Journal,
    store::{Store, server_time_ms},
};

/// The jobs with backups: one at a time.
#[derive(Debug)]
pub struct Backups {
    /// The store.
    pub(super) store: Store,
    /// Whether the server stops.
    pub(super) stopping: watch::Receiver<bool>,
    /// Where the server hears that the store is to be replaced.
    replacements: mpsc::Sender<Replacement>,
    journal: Arc<Journal>,
    /// What the server does by itself.
    pub(super) schedule: Scheduler,
    under_way: Mutex<Option<UnderWay>>,
    /// Hears that nothing is under way any more.
    freed: Notify,
}

/// A job that has not ended.
#[derive(Debug)]
struct UnderWay {
    /// For people, with the article: `a backup`.
    what: String,
    /// Empty: there is none.
    target: String,
    begun_ms: u64,
    /// Empty: not known.
    actor: String,
}

/// The right to do the one job; gives it back when dropped.
#[derive(Debug)]
pub struct Turn(Arc<Backups>);

/// How long a caller should wait before it tries again.
const RETRY_AFTER_MS: u64 = 10_000;

impl Backups {
    /// None yet. The first of `replacements` ends the server's work on this store.
    pub fn new(
        store: Store,
        stopping: watch::Receiver<bool>,
        replacements: mpsc::Sender<Replacement>,
    ) -> Arc<Backups> {
        Arc::new(Backups {
            journal: Journal::new(store.clone()),
            schedule: Scheduler::new(&store.config().backup, &store.config().data_dir),
            store,
            stopping,
            replacements,
            under_way: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// Where what operators ask is written down.
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Has the server drain, replace the store, and serve again.
    pub(super) fn replace(&self, replacement: Replacement) {
        // Without room another one was told; without a listener the server is stopping, and its next start does it.
        drop(self.replacements.try_send(replacement));
    }

    /// Takes the turn of a job, or tells who has it. `what` is for people, with its article (`a backup`); `target` is where the
    /// backups are, empty if there is none; `actor` asks for it, empty if that is not known.
    pub fn enter(
        self: &Arc<Self>,
        what: &str,
        target: &str,
        actor: &str,
    ) -> Result<Turn, StoreError> {
        let mut under_way = self.under_way.lock();
        if let Some(other) = &*under_way {
            let message = format!("{other}: there is one at a time, wait for its end");
            let mut error = StoreError::new(Reason::RateLimited, message);
            error.retry_after_ms = RETRY_AFTER_MS;
            return Err(error);
        }
        *under_way = Some(UnderWay {
            what: what.into(),
            target: target.into(),
            begun_ms: server_time_ms(),
            actor: actor.into(),
        });
        Ok(Turn(self.clone()))
    }

    /// Takes the turn of a job as soon as it is free.
    pub async fn wait(self: &Arc<Self>, what: &str, target: &str, actor: &str) -> Turn {
        loop {
            let freed = self.freed.notified();
            if let Ok(turn) = self.enter(what, target, actor) {
                return turn;
            }
            freed.await;
        }
    }

    /// What is under way, for people.
    pub fn under_way(&self) -> Option<String> {
        self.under_way.lock().as_ref().map(UnderWay::to_string)
    }
}

impl std::fmt::Display for UnderWay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let UnderWay { what, target, .. } = self;
        let since = Duration::from_millis(server_time_ms().saturating_sub(self.begun_ms));
        let actor = match self.actor.as_str() {
            "" => "somebody",
            actor => actor,
        };
        match target.as_str() {
            "" => write!(f, "{what}")?,
            target => write!(f, "{what} ({target})")?,
        }
        write!(
            f,
            ", asked for by {actor}, has been under way for {} s",
            since.as_secs()
        )
    }
}

impl Turn {
    /// Whose turn it is.
    pub fn backups(&self) -> &Arc<Backups> {
        &self.0
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *self.0.under_way.lock() = None;
        self.0.freed.notify_waiters();
    }
}

//! What the parts of the service have in common.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use stillpoint_proto::v1::{Reason, StoreError};
use tokio::sync::{self, OwnedMutexGuard, watch};

use super::name::Name;
use crate::{
    service::backup::{
        Backups,
        audit::{self, Asked, Written},
    },
    store::{
        Store,
        keys::System,
        schema::{
            SchemaCommit, SchemaCommitted,
            state::{self, SchemaState},
        },
    },
};

/// How long a caller should wait before it tries again.
const RETRY_AFTER_MS: u64 = 1000;

/// How often a change of a state is tried that the job was faster than ...
pub(super) const TRIES: usize = 200;

/// ... and the pause between two tries.
pub(super) const TRY_EVERY: Duration = Duration::from_millis(5);

/// The migrations of a store.
#[derive(Debug)]
pub struct Migrations {
    /// The store.
    pub(super) store: Store,
    /// Whether the server stops.
    pub(super) stopping: watch::Receiver<bool>,
    /// They know the journal of what operators ask.
    backups: Arc<Backups>,
    /// Held by who takes collections to another version, or publishes scripts.
    acting: Arc<sync::Mutex<()>>,
    /// Told whenever the state of a collection has changed.
    changed: watch::Sender<()>,
    /// Records that collections have, as they were counted last.
    totals: Mutex<HashMap<Name, u64>>,
    /// What keeps jobs from going on, though their collections' states do not; for people.
    hindrances: Mutex<HashMap<Name, String>>,
}

impl Migrations {
    /// Those of a store.
    pub fn new(
        store: Store,
        stopping: watch::Receiver<bool>,
        backups: Arc<Backups>,
    ) -> Arc<Migrations> {
        Arc::new(Migrations {
            store,
            stopping,
            backups,
            acting: Arc::default(),
            changed: watch::Sender::new(()),
            totals: Mutex::default(),
            hindrances: Mutex::default(),
        })
    }

    /// The right to act, unless somebody has it.
    pub(super) fn enter(&self) -> Result<OwnedMutexGuard<()>, StoreError> {
        self.acting.clone().try_lock_owned().map_err(|_| {
            let message = "scripts are being published, or a migration waits to be applied or rolled back: there is one at a \
                           time, wait for its end";
            let mut error = StoreError::new(Reason::RateLimited, message);
            error.retry_after_ms = RETRY_AFTER_MS;
            error
        })
    }

    /// Writes down that an action begins.
    pub(super) async fn audit(&self, asked: Asked<'_>) -> Written {
        audit::begin(&self.backups, asked).await
    }

    /// Makes a commit, and tells of it.
    pub(super) async fn commit(&self, commit: SchemaCommit) -> Result<SchemaCommitted, StoreError> {
        let committed = self.store.commit_schema_async(commit).await?;
        self.changed.send_replace(());
        Ok(committed)
    }

    /// Hears when the state of a collection changes.
    pub(super) fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Completes when the server stops.
    pub(super) async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        // Without a sender there is no server.
        drop(stopping.wait_for(|stopping| *stopping).await);
    }

    /// The records that a collection has, as they were counted last.
    pub(super) fn total(&self, name: &Name) -> Option<u64> {
        self.totals.lock().get(name).copied()
    }

    /// Keeps how many records a collection has.
    pub(super) fn set_total(&self, name: &Name, records: u64) {
        self.totals.lock().insert(name.clone(), records);
    }

    /// What keeps the job from going on with a collection; for `_any`, in any namespace.
    pub(super) fn hindrance(&self, name: &Name) -> Option<String> {
        let hindrances = self.hindrances.lock();
        if !name.is_any() {
            return hindrances.get(name).cloned();
        }
        let all = hindrances
            .iter()
            .filter(|(of, _)| of.collection == name.collection);
        all.map(|(of, why)| format!("{of}: {why}")).min()
    }

    /// Keeps what keeps the job from going on with a collection; `None`: it goes on.
    pub(super) fn hinder(&self, name: &Name, by: Option<&str>) {
        let mut known = self.hindrances.lock();
        match by {
            None => {
                if known.remove(name).is_some() {
                    tracing::info!(%name, "the migration goes on");
                }
            }
            Some(why) => {
                if known.get(name).is_none_or(|before| before != why) {
                    known.insert(name.clone(), why.into());
                    tracing::warn!(%name, why, "a migration cannot go on for now");
                }
            }
        }
    }

    /// Forgets what keeps the job from going on with collections that it has nothing to do for any more.
    pub(super) fn forget_hindrances(&self, is_busy: impl Fn(&Name) -> bool) {
        self.hindrances.lock().retain(|name, _| is_busy(name));
    }
}

/// Who asks: as they call themselves, or else as the server knows them.
pub(super) fn actor<'a>(actor: &'a str, peer: &'a str) -> &'a str {
    match actor {
        "" => peer,
        actor => actor,
    }
}

/// The state of a collection, with its revision; 0: it has none.
pub(super) fn state_of(store: &Store, name: &Name) -> (Option<SchemaState>, u64) {
    let table = store.schemas();
    match table.state(&name.namespace, &name.collection) {
        Some(stated) => (Some(stated.state.clone()), stated.revision),
        None => (None, 0),
    }
}

/// The commit of a collection's state, whose record has to be at this revision; 0: there has to be none.
pub(super) fn state_commit(name: &Name, seen_rev: u64, state: &SchemaState) -> SchemaCommit {
    let collection = &name.collection;
    let record = Bytes::copy_from_slice(collection.as_bytes());
    SchemaCommit {
        namespace: name.namespace.as_str().into(),
        state: Some((collection.clone(), seen_rev)),
        own: vec![(System::Schema, record, Some(state::encode(state)))],
        actor: state.actor.clone(),
        ..SchemaCommit::default()
    }
}

/// An error that says which collection it is about.
pub(super) fn about(name: &Name, mut error: StoreError) -> StoreError {
    error.message = format!("{name}: {}", error.message);
    error
}

/// What is wrong with a request.
pub(super) fn invalid(message: impl Into<String>) -> StoreError {
    StoreError::new(Reason::Invalid, message)
}

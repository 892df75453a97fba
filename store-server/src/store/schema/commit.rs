//! How scripts, states and quarantine are changed, and records rewritten: in one commit, on the condition that the state of
//! the collection is as it was seen.
//!
//! The condition is what lets a job of the background work without a lock: whoever pauses it, rolls back or applies more
//! writes the state, and what the job made of the old one is refused.

use std::sync::Arc;

use bytes::Bytes;
use stillpoint_proto::v1::{Reason, StoreError};
use tokio::sync::oneshot;

use super::Table;
use crate::store::{
    draft::Draft,
    handle::Store,
    index::Index,
    keys::{self, System},
    own_record::Committed,
};

/// Looks at sessions, claims and versions as they are when the commit is made, and may refuse it.
pub type Check = Box<dyn FnOnce(&Index, &Table) -> Result<(), StoreError> + Send>;

/// Gives the value of the state's record, of what was done with the records. Called on the writer's thread.
pub type Progress = Box<dyn FnOnce(&Done) -> Bytes + Send>;

/// What is to be committed.
#[derive(Default)]
pub struct SchemaCommit {
    /// The namespace of all of it.
    pub namespace: Arc<str>,
    /// The collection whose state has to be at this revision, 0: there has to be none. Else VERSION_CONFLICT.
    pub state: Option<(String, u64)>,
    /// Records in another version of their schema.
    pub records: Vec<Rewritten>,
    /// Records that go into quarantine.
    pub failed: Vec<Failed>,
    /// How far the job is with these; the state is left alone without it.
    pub progress: Option<Progress>,
    /// Records of the store's own: kind, name and value; none: it is deleted.
    pub own: Vec<(System, Bytes, Option<Bytes>)>,
    /// What else has to hold. Called on the writer's thread.
    pub check: Option<Check>,
    /// Who asks for it, as the records' history tells; may be empty.
    pub actor: String,
}

/// A record in another version of its schema. It keeps its lifetime.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// Its key in the view.
    pub key: Bytes,
    /// The revision that wrote it last when it was read. If it was written since, it is left alone.
    pub seen_rev: u64,
    /// Its value.
    pub value: Bytes,
    /// The version that the value has.
    pub schema: u32,
}

/// A record that could not be brought to another version.
#[derive(Clone, Debug)]
pub struct Failed {
    /// Its key in the view.
    pub key: Bytes,
    /// The revision that wrote it last when it was read. If it was written since, it is not put into quarantine.
    pub seen_rev: u64,
    /// The name of its entry.
    pub name: Bytes,
    /// The value of its entry.
    pub entry: Bytes,
}

/// What was done with the records of a commit. Those that were written since they were read count nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Records that were rewritten.
    pub rewritten: usize,
    /// Those that went into quarantine: their places in [`SchemaCommit::failed`].
    pub failed: Vec<usize>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemaCommitted {
    /// The commit.
    pub committed: Committed,
    /// Records that were rewritten; the others were written since they were read.
    pub rewritten: usize,
}

/// A commit, and who waits for it.
pub struct SchemaJob {
    /// What is to be committed.
    pub commit: SchemaCommit,
    /// Called on the writer's thread once it is durable, so it must not block.
    pub reply: Box<dyn FnOnce(Result<SchemaCommitted, StoreError>) + Send>,
}

impl std::fmt::Debug for SchemaJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SchemaJob")
            .field("namespace", &self.commit.namespace)
            .field("state", &self.commit.state)
            .field("records", &self.commit.records.len())
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Changes scripts, states, quarantine and records as one commit, and waits until it is durable and readable. Blocks.
    ///
    /// # Errors
    ///
    /// VERSION_CONFLICT: the state is not as it was seen. What the check says.
    pub fn commit_schema(&self, commit: SchemaCommit) -> Result<SchemaCommitted, StoreError> {
        let (told, answer) = crossbeam_channel::bounded(1);
        self.submit_schema(commit, move |result| drop(told.send(result)));
        answer.recv().unwrap_or_else(|_| Err(no_answer()))
    }

    /// The same without blocking.
    pub async fn commit_schema_async(
        &self,
        commit: SchemaCommit,
    ) -> Result<SchemaCommitted, StoreError> {
        let (told, answer) = oneshot::channel();
        self.submit_schema(commit, move |result| drop(told.send(result)));
        answer.await.unwrap_or_else(|_| Err(no_answer()))
    }

    fn submit_schema(
        &self,
        commit: SchemaCommit,
        reply: impl FnOnce(Result<SchemaCommitted, StoreError>) + Send + 'static,
    ) {
        let reply = Box::new(reply);
        self.shared.queue.push_schema(SchemaJob { commit, reply });
    }
}

fn no_answer() -> StoreError {
    let message = "the server stopped before it said whether the migration's commit was made";
    let mut error = StoreError::new(Reason::Unavailable, message);
    error.maybe_applied = true;
    error
}

/// Makes the changes in a draft; gives how many records were rewritten.
pub fn write(
    draft: &mut Draft<'_>,
    index: &Index,
    table: &Table,
    commit: &mut SchemaCommit,
) -> Result<usize, StoreError> {
    let namespace = &commit.namespace;
    if let Some((collection, seen_rev)) = &commit.state {
        let stated = table.state(namespace, collection);
        let revision = stated.map_or(0, |stated| stated.revision);
        if revision != *seen_rev {
            let message = format!(
                "the migration of {namespace}/{collection} was changed at revision {revision}, by somebody else: look at \
                 `stillpoint migrate status` and try again"
            );
            return Err(StoreError::new(Reason::VersionConflict, message));
        }
    }
    if let Some(check) = commit.check.take() {
        check(index, table)?;
    }
    let mut done = Done::default();
    for record in &commit.records {
        let Some(current) = draft.get(&record.key)? else {
            continue;
        };
        if current.mod_rev == record.seen_rev {
            let value = record.value.clone();
            draft.put(&record.key, value, record.schema, current.expires_at_ms)?;
            done.rewritten += 1;
        }
    }
    for (place, failed) in commit.failed.iter().enumerate() {
        let current = draft.get(&failed.key)?;
        if current.is_some_and(|current| current.mod_rev == failed.seen_rev) {
            let key = keys::system(namespace, System::Quarantine, &failed.name);
            draft.put(&key, failed.entry.clone(), 0, 0)?;
            done.failed.push(place);
        }
    }
    if let (Some(progress), Some((collection, _))) = (commit.progress.take(), &commit.state) {
        let key = keys::system(namespace, System::Schema, collection.as_bytes());
        draft.put(&key, progress(&done), 0, 0)?;
    }
    for (kind, name, value) in &commit.own {
        let key = keys::system(namespace, *kind, name);
        match value {
            Some(value) => drop(draft.put(&key, value.clone(), 0, 0)?),
            None => drop(draft.delete(&key)?),
        }
    }
    Ok(done.rewritten)
}

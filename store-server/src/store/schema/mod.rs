//! Versions of the records' schemas: which one counts, which one a caller speaks, and the way between them.
//!
//! Scripts, states and what was put into quarantine are records of the store's own, so log, view, checkpoint and backup carry
//! them. The [`Table`] is what they say, in memory: a snapshot that is never changed. There are two: the writer's own, which
//! is ahead by the batch that it evaluates, and the shared one, which is published before any record that was written by it.
//!
//! ```text
//!  read:   view ──▶ as stored ──▶ Lens::see ──▶ in the caller's version
//!  write:  in the caller's version ──▶ Lens::to_store ──▶ in the store's version ──▶ log
//!  patch:  as stored ──▶ see ──▶ patch, guards ──▶ to_store ──▶ log
//! ```
//!
//! What is written is brought to the store's version on the writer's thread, where the version cannot change meanwhile. What
//! is read is brought to the caller's behind the reader, so that no script holds commits up. A store without migrations pays
//! one relaxed load for all of this.
//!
//! # Layout
//!
//! - [`state`]: the records. `table`: what they say. `lineage`: the scripts of a collection, ready to run.
//! - `lens`: what one caller sees. `answer`: the answers of reads through it. `older`: what callers of older versions may write.
//! - `pin`: the versions that a session speaks, and those that it cannot.
//! - `commit`: how all of it is changed.

mod answer;
mod commit;
mod lens;
mod lineage;
mod older;
mod pin;
pub mod state;
mod table;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use parking_lot::RwLock;
use stillpoint_proto::v1::{Reason, StoreError};
use tokio::runtime::{Handle, RuntimeFlavor};

pub use self::{
    commit::{Check, Done, Failed, Progress, Rewritten, SchemaCommit, SchemaCommitted},
    lens::Lens,
    lineage::{Lineage, Link},
    table::{Script, Stated, Table},
};
pub(super) use self::{
    commit::{SchemaJob, write},
    lens::Speaks,
    pin::{check_heir, pin},
};
use super::{handle::Store, index::Index};

/// The namespace whose scripts and versions count in all that have none of their own. It has no records of clients.
pub const ANY_NAMESPACE: &str = stillpoint_migrations::source::ANY_NAMESPACE;

/// More records than this that have to be brought to another version at once hold up what else their thread has to do.
const INLINE_MAX: usize = 4;

/// The table that readers see.
#[derive(Debug)]
pub struct Schemas {
    table: RwLock<Arc<Table>>,
    is_managed: AtomicBool,
}

impl Schemas {
    /// Those of a store that was just opened.
    pub fn new(table: Arc<Table>) -> Schemas {
        Schemas {
            is_managed: AtomicBool::new(!table.is_empty()),
            table: RwLock::new(table),
        }
    }

    /// Whether any collection has a version. Whoever asks has the view in hand, or was told of a commit: that orders it, as
    /// the table is published before.
    pub fn is_managed(&self) -> bool {
        self.is_managed.load(Ordering::Relaxed)
    }

    /// The table of now.
    pub fn table(&self) -> Arc<Table> {
        self.table.read().clone()
    }

    /// Publishes a table.
    pub fn publish(&self, table: Arc<Table>) {
        let is_managed = !table.is_empty();
        *self.table.write() = table;
        self.is_managed.store(is_managed, Ordering::Relaxed);
    }
}

impl Store {
    /// The scripts, and the versions that count.
    pub fn schemas(&self) -> Arc<Table> {
        self.shared.schemas.table()
    }

    /// What a caller sees of a namespace; `None`: everything as it is stored, as no collection has a version there. Ask
    /// behind the read whose answer it is for. `session` is empty for a caller that has none.
    pub fn lens(&self, namespace: &str, session: &str) -> Option<Lens> {
        self.lens_at(namespace, session, 0)
    }

    /// The same for the holder of a session that has this fence: one that has a successor sees nothing, since the successor
    /// may speak other versions.
    pub fn lens_at(&self, namespace: &str, session: &str, fence: u64) -> Option<Lens> {
        if !self.shared.schemas.is_managed() {
            return None;
        }
        let table = self.schemas();
        if !table.is_managed(namespace) {
            return None;
        }
        let speaks = speaks(&self.index(), namespace, session, fence);
        Lens::new(&table, namespace, speaks)
    }
}

/// What the holder of a session speaks; `fence` 0: whoever it is.
pub(super) fn speaks(index: &Index, namespace: &str, session: &str, fence: u64) -> Speaks {
    if session.is_empty() {
        return Speaks::Newest;
    }
    let found = match fence {
        0 => index.session(namespace, session).ok_or_else(|| {
            let message = format!(
                "session {session} is over, so nobody knows which versions of its records it speaks: open a new one"
            );
            StoreError::new(Reason::SessionExpired, message)
        }),
        fence => index.session_at(namespace, session, fence),
    };
    match found {
        Ok(session) => Speaks::Session(session.clone()),
        Err(error) => Speaks::Nobody(Arc::new(error)),
    }
}

/// Runs scripts. They may take a while, so other tasks of the thread go on elsewhere meanwhile.
pub(crate) fn aside<T>(run: impl FnOnce() -> T) -> T {
    let is_shared = |handle: Handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread;
    match Handle::try_current().is_ok_and(is_shared) {
        true => tokio::task::block_in_place(run),
        false => run(),
    }
}

/// The same for so many records that have another version than the caller's; a few do not hold up what else the thread has
/// to do.
pub(super) fn aside_of<T>(foreign: usize, run: impl FnOnce() -> T) -> T {
    match foreign <= INLINE_MAX {
        true => run(),
        false => aside(run),
    }
}

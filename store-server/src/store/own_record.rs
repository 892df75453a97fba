//! Records that the store writes by itself, each as a commit of its own: what operators asked, and the moments that they
//! labelled.

use std::sync::Arc;

use bytes::Bytes;
use stillpoint_proto::v1::{Reason, StoreError};

use super::{
    draft::{Accepted, Draft, Source},
    handle::Store,
    keys::{self, System},
    schema::ANY_NAMESPACE,
};

/// The namespace that an operator means who names none.
const DEFAULT_NAMESPACE: &str = "default";

/// A record to be written, and who waits for it.
pub struct OwnRecord {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its collection.
    pub system: System,
    /// Its key there.
    pub name: Bytes,
    /// Its value: one MessagePack value.
    pub value: Bytes,
    /// When it expires, in milliseconds since 1970; 0: never.
    pub expires_at_ms: u64,
    /// It is refused if there is one of this name already, in whichever namespace.
    pub is_new: bool,
    /// Gets the commit once it is durable. Called on the writer's thread, so it must not block.
    pub reply: Box<dyn FnOnce(Result<Committed, StoreError>) + Send>,
}

/// A commit of the store's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its revision of the namespace.
    pub revision: u64,
    /// Its sequence number in the log.
    pub seq: u64,
}

impl Store {
    /// Where the store writes what concerns a namespace: there, if it was ever written. If it was not, or `namespace` is
    /// empty, as all of the store is concerned: in namespace `default`, or else in the first by name. `None`: nothing was
    /// ever written, and no namespace is made for that.
    pub fn home_namespace(&self, namespace: &str) -> Option<String> {
        let reader = self.reader();
        if reader.revision(namespace) > 0 {
            return Some(namespace.into());
        }
        let namespaces = reader.snapshot().namespaces().map(|(name, _)| name);
        let namespaces = namespaces.filter(|name| *name != ANY_NAMESPACE);
        let home = namespaces.min_by_key(|name| (*name != DEFAULT_NAMESPACE, *name));
        home.map(str::to_owned)
    }
}

impl std::fmt::Debug for OwnRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnRecord")
            .field("namespace", &self.namespace)
            .field("system", &self.system)
            .field("name", &self.name)
            .finish()
    }
}

/// Writes the record in a draft.
pub fn write(
    draft: &mut Draft<'_>,
    accepted: &Accepted<'_>,
    record: &OwnRecord,
) -> Result<(), StoreError> {
    if record.is_new {
        refuse_second(accepted, record)?;
    }
    let key = keys::system(&record.namespace, record.system, &record.name);
    let written = draft.put(&key, record.value.clone(), 0, record.expires_at_ms);
    written.map(drop)
}

fn refuse_second(accepted: &Accepted<'_>, record: &OwnRecord) -> Result<(), StoreError> {
    let mut namespaces: Vec<Arc<str>> = {
        let view = accepted.view.read();
        view.namespaces().map(|(name, _)| name.into()).collect()
    };
    namespaces.extend(accepted.pending.namespaces.keys().cloned());
    for namespace in namespaces {
        let key = keys::system(&namespace, record.system, &record.name);
        if let Some(found) = accepted.record(&key)? {
            let message = format!(
                "{} exists already: revision {} of namespace {namespace}; choose another name",
                record.name.escape_ascii(),
                found.mod_rev
            );
            return Err(StoreError::new(Reason::VersionConflict, message));
        }
    }
    Ok(())
}

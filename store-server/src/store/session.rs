//! Sessions and claims as the store keeps them, and what changes them.
//!
//! A session is one record per identity (namespace, service, instance). Its fence is the revision of the commit that
//! opened it for the holder of now: it grows with each holder without a counter that would have to outlive the session. A
//! claim is a record that names the session, not the fence, so that succession moves all claims by writing one record.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use stillpoint_proto::v1::{Reason, StoreError};
use uuid::Uuid;

use super::{
    claimed::Claimed,
    draft::Draft,
    index::Index,
    keys::{self, System},
    record::Record,
    schema::{self, Table},
};

/// A session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Its id: identity and a random part. A successor gets the same one.
    pub id: Arc<str>,
    /// Its service.
    pub service: String,
    /// Its instance.
    pub instance: String,
    /// The fence of its holder.
    pub fence: u64,
    /// Lets a successor take it over from a living holder.
    #[serde(with = "serde_bytes")]
    pub resume_token: Vec<u8>,
    /// How long it lives without a word, in milliseconds.
    pub ttl_ms: u64,
    /// Holders it has had.
    pub holders: u64,
    /// When its first holder opened it, in milliseconds since 1970.
    pub opened_ms: u64,
    /// When its holder of now did.
    pub held_since_ms: u64,
    /// Its holder left it to a successor: how long it is kept for one, in milliseconds.
    pub linger_ms: Option<u64>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Version of its program's code.
    pub code_version: String,
    /// Name of its client program.
    pub client_name: String,
    /// The store's incarnation that opened it. It does not outlive that: a restored store may give its fence again.
    pub incarnation: u64,
    /// The versions that its holder speaks, by collection; 0 of all others. Since format 4.
    #[serde(default)]
    pub schemas: BTreeMap<String, u32>,
}

impl Session {
    /// Reads the record that has it.
    pub fn decode(record: &Record) -> Result<Session, String> {
        rmp_serde::from_slice(&record.value).map_err(|e| format!("a session's record: {e}"))
    }

    fn encode(&self) -> Bytes {
        rmp_serde::to_vec(self)
            .expect("a session is always encodable")
            .into()
    }

    /// The version of a collection's schema that its holder speaks.
    pub fn speaks(&self, collection: &str) -> u32 {
        self.schemas.get(collection).copied().unwrap_or(0)
    }

    /// `service/instance`.
    pub fn identity(&self) -> String {
        identity(&self.service, &self.instance)
    }

    /// Who holds it, for people.
    pub fn holder(&self) -> String {
        match self.client_name.as_str() {
            "" => self.identity(),
            name => format!("{} ({name})", self.identity()),
        }
    }
}

/// `service/instance`: names have no `/`, so it is unique.
pub fn identity(service: &str, instance: &str) -> String {
    format!("{service}/{instance}")
}

/// Service and instance of the session with this id, be it over or not. `None`: no session has such an id.
pub fn identity_of(id: &str) -> Option<(&str, &str)> {
    let (identity, _) = id.rsplit_once('/')?;
    identity.split_once('/')
}

/// A change of a session.
#[derive(Clone, Debug)]
pub enum SessionChange {
    /// Opens one, or takes it over.
    Open(Open),
    /// Leaves it to a successor.
    Release {
        /// Its id.
        id: Arc<str>,
        /// The holder's fence.
        fence: u64,
        /// How long it is kept for a successor, in milliseconds.
        linger_ms: u64,
    },
    /// Ends it, and all its claims.
    End {
        /// Its id.
        id: Arc<str>,
        /// The holder's fence.
        fence: u64,
    },
}

/// What a session is opened with.
#[derive(Clone, Debug, Default)]
pub struct Open {
    /// Its service.
    pub service: String,
    /// Its instance.
    pub instance: String,
    /// The fence of the holder that is succeeded; 0: there is no session. If it is another, the change is refused with
    /// VERSION_CONFLICT: somebody was faster.
    pub expected_fence: u64,
    /// How long it lives without a word, in milliseconds.
    pub ttl_ms: u64,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Version of the program's code.
    pub code_version: String,
    /// Name of the client program.
    pub client_name: String,
    /// The versions that the program speaks, by collection. Of the others it speaks what the store has.
    pub schemas: BTreeMap<String, u32>,
}

/// What a change is made under.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// Server time, in milliseconds since 1970.
    pub now_ms: u64,
    /// The store's incarnation.
    pub incarnation: u64,
    /// Most sessions.
    pub sessions_max: usize,
    /// The versions that the store has.
    pub schemas: &'a Arc<Table>,
}

/// Makes a change in a draft; gives the session as it is after it, none if it is over.
pub fn change(
    draft: &mut Draft<'_>,
    index: &Index,
    namespace: &str,
    change: &SessionChange,
    terms: &Terms<'_>,
) -> Result<Option<Session>, StoreError> {
    match change {
        SessionChange::Open(open) => {
            let session = open_session(index, namespace, open, draft.revision, terms)?;
            put(draft, namespace, &session)?;
            Ok(Some(session))
        }
        SessionChange::Release {
            id,
            fence,
            linger_ms,
        } => {
            let mut session = Session::clone(index.session_at(namespace, id, *fence)?);
            session.linger_ms = Some(*linger_ms);
            put(draft, namespace, &session)?;
            Ok(Some(session))
        }
        SessionChange::End { id, fence } => {
            let session = index.session_at(namespace, id, *fence)?;
            draft.delete(&keys::system(
                namespace,
                System::Session,
                session.identity().as_bytes(),
            ))?;
            // What another owns meanwhile is not written for this: its token would change.
            let taken = index.taken_from(id);
            let taken = taken.filter(|key| index.claim(key).is_none());
            for key in index.claims_of(id).chain(taken) {
                if let Some(claim) = keys::claim(key) {
                    let claimed = Claimed::now(index, namespace, key);
                    claimed.without(id).write(draft, &claim)?;
                }
            }
            Ok(None)
        }
    }
}

fn put(draft: &mut Draft<'_>, namespace: &str, session: &Session) -> Result<(), StoreError> {
    let key = keys::system(namespace, System::Session, session.identity().as_bytes());
    draft.put(&key, session.encode(), 0, 0).map(drop)
}

fn open_session(
    index: &Index,
    namespace: &str,
    open: &Open,
    fence: u64,
    terms: &Terms<'_>,
) -> Result<Session, StoreError> {
    let identity = identity(&open.service, &open.instance);
    let before = index.session_of(namespace, &identity);
    if before.map_or(0, |session| session.fence) != open.expected_fence {
        let message = format!("{identity} was opened by somebody else meanwhile: try again");
        return Err(StoreError::new(Reason::VersionConflict, message));
    }
    if before.is_none() && index.session_count() >= terms.sessions_max {
        let message = format!(
            "{} sessions are open, which is the limit (limits.sessions)",
            terms.sessions_max
        );
        return Err(StoreError::new(Reason::Quota, message));
    }
    let (id, holders, opened_ms) = match before {
        Some(session) => (session.id.clone(), session.holders, session.opened_ms),
        None => (new_id(&identity), 0, terms.now_ms),
    };
    let session = Session {
        id,
        service: open.service.clone(),
        instance: open.instance.clone(),
        fence,
        resume_token: Uuid::new_v4().into_bytes().into(),
        ttl_ms: open.ttl_ms,
        holders: holders + 1,
        opened_ms,
        held_since_ms: terms.now_ms,
        linger_ms: None,
        labels: open.labels.clone(),
        code_version: open.code_version.clone(),
        client_name: open.client_name.clone(),
        incarnation: terms.incarnation,
        schemas: schema::pin(terms.schemas, namespace, &open.schemas)?,
    };
    let owned = index.claims_of(&session.id);
    schema::check_heir(terms.schemas, namespace, &session, owned)?;
    Ok(session)
}

/// An id that no session had before: the identity may be opened again after its end, and is another session then.
fn new_id(identity: &str) -> Arc<str> {
    let (random, _) = Uuid::new_v4().as_u64_pair();
    format!("{identity}/{random:016x}").into()
}

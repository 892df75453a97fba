//! What the store knows of sessions, claims and timers without looking into the view.
//!
//! All of it stands in records of the reserved collections, so log, checkpoint and replay carry it; this is an index of
//! them. There are two: the writer's own, which is ahead by the batch it evaluates, and the shared one, which is as durable
//! as the view. Both change only by [`Index::apply`].

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use stillpoint_proto::v1::{self, Reason, StoreError};

use super::{
    claimed::Claimed,
    keys::{self, System},
    record::Record,
    session::Session,
    timer::Timer,
};

/// Sessions, claims and timers.
#[derive(Debug, Default)]
pub struct Index {
    /// By namespace, then by identity.
    sessions: HashMap<Arc<str>, HashMap<Box<str>, Arc<Session>>>,
    /// By view key of the record.
    claims: HashMap<Bytes, Claim>,
    /// View keys of the records that a session owns, by its id.
    claimed_by: KeysOf,
    /// Claims that the store took away, by view key of the record: whose they were.
    taken: HashMap<Bytes, Vec<Taken>>,
    /// View keys of these records, by id of the session that owned them.
    taken_from: KeysOf,
    /// When each timer is due, by view key of its record.
    due_of: HashMap<Bytes, Due>,
    /// The same in the order of time.
    due: BTreeSet<(u64, Bytes)>,
}

/// Who owns a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The session's id.
    pub session: Arc<str>,
    /// The revision that made it the owner.
    pub revision: u64,
}

/// A claim that the store took away. Anybody may claim the record then; but the holder that had it may not know it yet, and
/// what it has sent as its owner is refused, until it claims the record again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The session's id.
    pub session: Arc<str>,
    /// The fence of its holder then. A successor has not sent anything as the owner.
    pub fence: u64,
}

/// Whom a record was taken by, where the store took it away for an operator who brought it back to an earlier state. No
/// session has such a name.
pub const TAKEN_BY_RESTORE: &str = "@restore";

/// When a timer is due, and where it fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// In milliseconds since 1970.
    pub due_ms: u64,
    /// The revision that wrote the timer. Two firings of a timer are never of one.
    pub revision: u64,
    /// View key of the record whose owner it fires at.
    pub owner: Option<Bytes>,
}

/// A change of the index, for those who wait for one.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A session was opened, taken over, released or ended.
    Session {
        /// Its namespace.
        namespace: Arc<str>,
        /// How it was.
        before: Option<Arc<Session>>,
        /// How it is; none: it is over.
        after: Option<Arc<Session>>,
    },
    /// A record has another owner.
    Claim {
        /// View key of the record.
        key: Bytes,
        /// The session that owned it.
        before: Option<Arc<str>>,
        /// The session that owns it.
        after: Option<Arc<str>>,
        /// The store took it away: nobody released it.
        is_taken: bool,
    },
    /// A timer was set, moved on or removed.
    Timer {
        /// View key of its record.
        key: Bytes,
    },
}

impl Index {
    /// Takes in a change of the view. `None`: it is none of a reserved collection that counts here. Fails if the record
    /// cannot be understood.
    pub fn apply(&mut self, key: &Bytes, after: Option<&Record>) -> Result<Option<Notice>, String> {
        let Some((namespace, system, name)) = keys::split_system(key) else {
            return Ok(None);
        };
        Ok(match system {
            System::Session => Some(self.apply_session(namespace, name, after)?),
            System::Claim => Some(self.apply_claim(namespace, name, after)?),
            System::Timer => Some(self.apply_timer(namespace, key, after)?),
            System::Cursor
            | System::Audit
            | System::Mark
            | System::Script
            | System::Schema
            | System::Quarantine => None,
        })
    }

    fn apply_session(
        &mut self,
        namespace: &str,
        identity: &[u8],
        after: Option<&Record>,
    ) -> Result<Notice, String> {
        let identity = std::str::from_utf8(identity).map_err(|e| e.to_string())?;
        let namespace: Arc<str> = match self.sessions.get_key_value(namespace) {
            Some((known, _)) => known.clone(),
            None => namespace.into(),
        };
        let sessions = self.sessions.entry(namespace.clone()).or_default();
        let after = match after {
            Some(record) => Some(Arc::new(Session::decode(record)?)),
            None => None,
        };
        let before = match &after {
            Some(session) => sessions.insert(identity.into(), session.clone()),
            None => sessions.remove(identity),
        };
        Ok(Notice::Session {
            namespace,
            before,
            after,
        })
    }

    fn apply_claim(
        &mut self,
        namespace: &str,
        name: &[u8],
        after: Option<&Record>,
    ) -> Result<Notice, String> {
        let key = keys::claimed_record(namespace, name);
        let before = self.claims.remove(&key).map(|claim| claim.session);
        if let Some(session) = &before {
            remove_of(&mut self.claimed_by, session, &key);
        }
        for taken in self.taken.remove(&key).into_iter().flatten() {
            remove_of(&mut self.taken_from, &taken.session, &key);
        }
        let Some(record) = after else {
            return Ok(Notice::Claim {
                key,
                before,
                after: None,
                is_taken: false,
            });
        };
        let Claimed { owner, mut taken } = Claimed::decode(record)?;
        for taken in &mut taken {
            taken.session = add_of(&mut self.taken_from, taken.session.clone(), &key);
        }
        let is_before = |taken: &Taken| before.as_deref() == Some(&*taken.session);
        let is_taken = taken.iter().any(is_before);
        if !taken.is_empty() {
            self.taken.insert(key.clone(), taken);
        }
        let owner = owner.map(|session| add_of(&mut self.claimed_by, session, &key));
        if let Some(session) = &owner {
            let claim = Claim {
                session: session.clone(),
                revision: record.mod_rev,
            };
            self.claims.insert(key.clone(), claim);
        }
        Ok(Notice::Claim {
            key,
            before,
            after: owner,
            is_taken,
        })
    }

    fn apply_timer(
        &mut self,
        namespace: &str,
        key: &Bytes,
        after: Option<&Record>,
    ) -> Result<Notice, String> {
        if let Some(before) = self.due_of.remove(key) {
            self.due.remove(&(before.due_ms, key.clone()));
        }
        if let Some(record) = after {
            let timer = Timer::decode(record)?;
            let owner = timer.owner.as_ref();
            let due = Due {
                due_ms: timer.due_ms,
                revision: record.mod_rev,
                owner: owner.map(|owner| keys::record(namespace, &owner.collection, &owner.key)),
            };
            self.due.insert((due.due_ms, key.clone()));
            self.due_of.insert(key.clone(), due);
        }
        Ok(Notice::Timer { key: key.clone() })
    }

    /// A session by its id.
    pub fn session(&self, namespace: &str, id: &str) -> Option<&Arc<Session>> {
        let (identity, _) = id.rsplit_once('/')?;
        let session = self.sessions.get(namespace)?.get(identity)?;
        (*session.id == *id).then_some(session)
    }

    /// A session by its identity.
    pub fn session_of(&self, namespace: &str, identity: &str) -> Option<&Arc<Session>> {
        self.sessions.get(namespace)?.get(identity)
    }

    /// All sessions, with their namespaces.
    pub fn sessions(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Session>)> {
        let namespaces = self.sessions.iter();
        namespaces
            .flat_map(|(namespace, all)| all.values().map(move |session| (namespace, session)))
    }

    /// How many sessions there are.
    pub fn session_count(&self) -> usize {
        self.sessions.values().map(HashMap::len).sum()
    }

    /// Whether a session is the caller's to write with. One that is over, has a successor, or was left to one, is not.
    pub fn check_fence(
        &self,
        namespace: &str,
        id: &str,
        fence: u64,
    ) -> Result<&Arc<Session>, StoreError> {
        let session = self.session_at(namespace, id, fence)?;
        if session.linger_ms.is_some() {
            let message = format!(
                "{} was closed and left to a successor: open it anew",
                session.identity()
            );
            return Err(StoreError::new(Reason::SessionExpired, message));
        }
        Ok(session)
    }

    /// The session that was opened with this fence, if it is not over and has no successor. Its holder may have left it.
    pub fn session_at(
        &self,
        namespace: &str,
        id: &str,
        fence: u64,
    ) -> Result<&Arc<Session>, StoreError> {
        let Some(session) = self.session(namespace, id) else {
            let message = format!(
                "session {id} is over: it was closed, or silent for longer than its ttl; open a new one"
            );
            return Err(StoreError::new(Reason::SessionExpired, message));
        };
        if session.fence != fence {
            let message = format!(
                "{} has a successor: its fence is {}, this process has fence {fence} and can write no more",
                session.identity(),
                session.fence
            );
            let mut error = StoreError::new(Reason::Fenced, message);
            error.holder = session.holder();
            return Err(error);
        }
        Ok(session)
    }

    /// Who owns the record with this view key.
    pub fn claim(&self, key: &[u8]) -> Option<&Claim> {
        self.claims.get(key)
    }

    /// Whether the store took a record from a session's holder, who may not know it yet.
    pub fn is_taken_from(&self, namespace: &str, session: &str, key: &[u8]) -> bool {
        (self.taken(namespace, key)).any(|taken| *taken.session == *session)
    }

    /// The sessions' holders that the store took a record from, and who may not know it yet.
    pub fn taken(&self, namespace: &str, key: &[u8]) -> impl Iterator<Item = &Taken> {
        let taken = self.taken.get(key).into_iter().flatten();
        taken.filter(move |taken| {
            let session = self.session(namespace, &taken.session);
            session.is_some_and(|session| session.fence == taken.fence)
        })
    }

    /// View keys of the records that the store took from a session.
    pub fn taken_from(&self, session: &str) -> impl Iterator<Item = &Bytes> {
        self.taken_from.get(session).into_iter().flatten()
    }

    /// Who owns the record with this view key, for an answer.
    pub fn owner(&self, namespace: &str, key: &[u8]) -> Option<v1::Claim> {
        let claim = self.claim(key)?;
        let session = self.session(namespace, &claim.session)?;
        Some(v1::Claim {
            session_id: session.id.to_string(),
            service: session.service.clone(),
            instance: session.instance.clone(),
            token: self.token(namespace, claim),
        })
    }

    /// A claim's fencing token: it grows with each owner, and with each holder of the owner's session.
    pub fn token(&self, namespace: &str, claim: &Claim) -> u64 {
        let fence = self
            .session(namespace, &claim.session)
            .map_or(0, |s| s.fence);
        claim.revision.max(fence)
    }

    /// View keys of the records that a session owns.
    pub fn claims_of(&self, session: &str) -> impl Iterator<Item = &Bytes> {
        self.claimed_by.get(session).into_iter().flatten()
    }

    /// How many records a session owns.
    pub fn claim_count_of(&self, session: &str) -> usize {
        self.claimed_by.get(session).map_or(0, HashSet::len)
    }

    /// How many records are owned.
    pub fn claim_count(&self) -> usize {
        self.claims.len()
    }

    /// When a timer is due, by view key of its record.
    pub fn timer(&self, key: &[u8]) -> Option<&Due> {
        self.due_of.get(key)
    }

    /// View keys of timers that are due after `after_ms`, and at `until_ms` at the latest, and when each is, the earliest
    /// first.
    pub fn timers_due_after(
        &self,
        after_ms: u64,
        until_ms: u64,
    ) -> impl Iterator<Item = (&Bytes, &Due)> {
        let from = (after_ms.saturating_add(1), Bytes::new());
        let until = (until_ms.max(after_ms).saturating_add(1), Bytes::new());
        let due = self.due.range(from..until);
        due.filter_map(|(_, key)| self.due_of.get_key_value(key))
    }

    /// When the first timer after `now_ms` is due.
    pub fn next_timer_ms(&self, now_ms: u64) -> Option<u64> {
        let after = (now_ms.saturating_add(1), Bytes::new());
        self.due.range(after..).next().map(|(due_ms, _)| *due_ms)
    }

    /// How many timers are set.
    pub fn timer_count(&self) -> usize {
        self.due.len()
    }
}

/// Keys of records by session.
type KeysOf = HashMap<Arc<str>, HashSet<Bytes>>;

/// Adds a record to those of a session; gives the id as it is kept.
fn add_of(all: &mut KeysOf, session: Arc<str>, key: &Bytes) -> Arc<str> {
    let session = match all.get_key_value(&*session) {
        Some((known, _)) => known.clone(),
        None => session,
    };
    let keys = all.entry(session.clone()).or_default();
    keys.insert(key.clone());
    session
}

fn remove_of(all: &mut KeysOf, session: &str, key: &Bytes) {
    if let Some(keys) = all.get_mut(session) {
        keys.remove(key);
        if keys.is_empty() {
            all.remove(session);
        }
    }
}

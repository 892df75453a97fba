//! Records that go from one session to another: those who wait for one have their turn, and its owner is told.

use std::sync::Arc;

use bytes::Bytes;
use stillpoint_proto::v1::{ClaimLost, RecordKey};
use tokio::{sync::Notify, time::Instant};

use super::{
    SessionKey,
    hub::{Hub, State},
    presence::Message,
    waiters::Waiter,
};
use crate::store::{index::Index, keys};

/// A place among those who wait for a record, until it is dropped.
#[derive(Debug)]
pub struct Place {
    hub: Arc<Hub>,
    key: Bytes,
    number: u64,
    turn: Arc<Notify>,
}

impl Hub {
    /// Takes a place among those who wait for a record. The owner is asked to release it.
    pub fn wait_for(
        self: &Arc<Self>,
        namespace: &str,
        session: &Arc<str>,
        name: &RecordKey,
        until: Instant,
        steals: bool,
    ) -> Place {
        let key = keys::record(namespace, &name.collection, &name.key);
        let turn = Arc::new(Notify::new());
        let waiter = Waiter {
            session: session.clone(),
            wanted_by: identity_of(session).into(),
            name: name.clone(),
            until,
            steals,
            turn: turn.clone(),
            told: None,
        };
        let mut state = self.state.lock();
        let (number, is_first) = state.waiters.push(&key, waiter);
        let owner = (self.store().index().claim(&key)).map(|claim| claim.session.clone());
        match owner {
            Some(owner) if owner != *session => {
                let owner = SessionKey {
                    namespace: namespace.into(),
                    id: owner,
                };
                state.want(&owner, &key, number);
            }
            Some(_) => turn.notify_one(),
            // Who is before this one has been told to try.
            None if is_first => turn.notify_one(),
            None => {}
        }
        drop(state);
        Place {
            hub: self.clone(),
            key,
            number,
            turn,
        }
    }
}

impl State {
    /// A record has another owner, or none; `taken_by` is whom the one before lost it to, if he did not release it.
    pub(super) fn claim_moved(
        &mut self,
        key: &Bytes,
        before: Option<&str>,
        after: Option<&str>,
        taken_by: Option<&str>,
    ) {
        let Some((namespace, _, _)) = keys::split_record(key) else {
            return;
        };
        let session = |id: &str| SessionKey {
            namespace: namespace.into(),
            id: id.into(),
        };
        self.timers.owner_moved(key);
        if let (Some(before), Some(taken_by)) = (before, taken_by)
            && after != Some(before)
            && let Some(lost) = claim_lost(key, taken_by)
        {
            // Who is not there learns of what the store took when it attaches.
            self.tell(&session(before), Message::ClaimLost(lost));
        }
        let Some(owner) = after else {
            return self.waiters.call_first(key);
        };
        let mut is_wanted = false;
        for waiter in self.waiters.of(key) {
            if *waiter.session == *owner {
                // It owns the record by another way: to claim it again is fine.
                waiter.turn.notify_one();
            } else {
                is_wanted = true;
            }
        }
        if is_wanted {
            self.want(&session(owner), key, 0);
        }
    }

    /// A holder, if it is there, is to be told who waits for a record of it, from this waiter on.
    fn want(&mut self, owner: &SessionKey, record: &Bytes, waiter: u64) {
        let presence = self.presences.get_mut(owner);
        if let Some(attached) = presence.and_then(|presence| presence.attached_mut()) {
            attached.wishes.add(record, waiter);
        }
    }

    /// Tells a holder that has come back who waits for its records.
    pub(super) fn tell_wishes(&mut self, index: &Index, key: &SessionKey) {
        if self.waiters.is_empty() {
            return;
        }
        let presence = self.presences.get_mut(key);
        let Some(attached) = presence.and_then(|presence| presence.attached_mut()) else {
            return;
        };
        for claim in index.claims_of(&key.id) {
            if self.waiters.of(claim).next().is_some() {
                attached.wishes.add(claim, 0);
            }
        }
    }
}

/// What a holder is told who lost the record with this view key.
pub(super) fn claim_lost(record: &[u8], taken_by: &str) -> Option<ClaimLost> {
    let (_, collection, key) = keys::split_record(record)?;
    Some(ClaimLost {
        key: Some(RecordKey {
            collection: collection.into(),
            key: Bytes::copy_from_slice(key),
        }),
        taken_by: taken_by.into(),
    })
}

/// `service/instance` of the session with this id.
pub(super) fn identity_of(id: &str) -> &str {
    id.rsplit_once('/').map_or(id, |(identity, _)| identity)
}

impl Place {
    /// Waits until there is a chance.
    pub async fn turn(&self) {
        self.turn.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.hub.state.lock();
        // The turn may have been this one's: then it is the next one's.
        if state.waiters.remove(&self.key, self.number)
            && self.hub.store().index().claim(&self.key).is_none()
        {
            state.waiters.call_first(&self.key);
        }
    }
}

//! What a claim's record says: who owns a record, and from whom the store took it.
//!
//! Who had it may not know yet that it was taken. What he sent as its owner is refused whoever owns the record meanwhile, and
//! after that: until his session claims it again, has a successor, or is over. What is of no more use goes when the claim's
//! record is written next, so it never names more than the sessions that there are.

use std::sync::Arc;

use bytes::Bytes;
use stillpoint_proto::v1::StoreError;

use super::{
    draft::Draft,
    index::{Index, Taken},
    record::Record,
};

/// What a claim's record says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimed {
    /// Id of the session that owns the record.
    pub owner: Option<Arc<str>>,
    /// Whom the store took it from; never the owner.
    pub taken: Vec<Taken>,
}

impl Claimed {
    /// What it says of the record with this view key, without what is of no more use.
    pub fn now(index: &Index, namespace: &str, key: &[u8]) -> Claimed {
        Claimed {
            owner: index.claim(key).map(|claim| claim.session.clone()),
            taken: index.taken(namespace, key).cloned().collect(),
        }
    }

    /// The same once this session owns it.
    pub fn owned_by(self, session: &Arc<str>) -> Claimed {
        let mut claimed = self.without(session);
        claimed.owner = Some(session.clone());
        claimed
    }

    /// The same once this session has nothing to do with it.
    pub fn without(mut self, session: &str) -> Claimed {
        self.owner.take_if(|owner| **owner == *session);
        self.taken.retain(|taken| *taken.session != *session);
        self
    }

    /// The same once the store has taken it from its owner, whose holder has this fence.
    pub fn taken_away(mut self, fence: u64) -> Claimed {
        let owner = self.owner.take();
        (self.taken).extend(owner.map(|session| Taken { session, fence }));
        self
    }

    /// Writes it as the claim's record with this view key.
    pub fn write(&self, draft: &mut Draft<'_>, claim: &Bytes) -> Result<(), StoreError> {
        match self.encode() {
            Some(value) => draft.put(claim, value, 0, 0).map(drop),
            None => draft.delete(claim).map(drop),
        }
    }

    /// `None`: there is nothing to say.
    fn encode(&self) -> Option<Bytes> {
        let packed = match (&self.owner, &self.taken[..]) {
            (None, []) => return None,
            (Some(owner), []) => rmp_serde::to_vec(&**owner),
            (None, [taken]) => rmp_serde::to_vec(&(&*taken.session, taken.fence)),
            (owner, taken) => {
                let taken: Vec<_> = taken.iter().map(|t| (&*t.session, t.fence)).collect();
                rmp_serde::to_vec(&(owner.as_deref(), taken))
            }
        };
        Some(
            packed
                .expect("texts and numbers are always encodable")
                .into(),
        )
    }

    /// Reads a claim's record.
    pub fn decode(record: &Record) -> Result<Claimed, String> {
        let value = &record.value[..];
        if let Ok(owner) = rmp_serde::from_slice::<&str>(value) {
            return Ok(Claimed {
                owner: Some(owner.into()),
                taken: Vec::new(),
            });
        }
        let (owner, taken) = match rmp_serde::from_slice::<(&str, u64)>(value) {
            Ok(one) => (None, vec![one]),
            Err(_) => rmp_serde::from_slice::<(Option<&str>, Vec<(&str, u64)>)>(value)
                .map_err(|e| format!("a claim's record: {e}"))?,
        };
        let taken = taken.into_iter().map(|(session, fence)| Taken {
            session: session.into(),
            fence,
        });
        Ok(Claimed {
            owner: owner.map(Into::into),
            taken: taken.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_it_may_say_is_read_as_it_was_written() {
        let taken = |session: &str, fence| Taken {
            session: session.into(),
            fence,
        };
        for owner in [None, Some("battle/1/a".into())] {
            for count in 0..3 {
                let all = [taken("battle/2/b", 7), taken("battle/3/c", u64::MAX)];
                let claimed = Claimed {
                    owner: owner.clone(),
                    taken: all[..count].to_vec(),
                };
                let Some(value) = claimed.encode() else {
                    assert_eq!(claimed, Claimed::default());
                    continue;
                };
                let record = Record {
                    create_rev: 1,
                    mod_rev: 1,
                    version: 1,
                    schema: 0,
                    expires_at_ms: 0,
                    value,
                };
                assert_eq!(Claimed::decode(&record).unwrap(), claimed);
            }
        }
    }
}

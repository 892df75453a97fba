//! What a holder is to be told of those who wait for its records.
//!
//! The wishes themselves are not kept here, only from which place on they have not been told, by record: each is made as it
//! leaves for the holder. So however many wait, a holder that reads slowly costs little memory and is told everything, and
//! whoever has gone meanwhile is not told of.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use stillpoint_proto::v1::ReleaseWanted;
use tokio::{sync::Notify, time::Instant};

use super::{
    SessionKey,
    hub::Hub,
    waiters::{Told, Waiter, Waiters},
};

/// The wishes that a holder has not been told.
#[derive(Debug, Default)]
pub struct Wishes {
    /// By view key of the record: the number of the first waiter that may be untold.
    untold: BTreeMap<Bytes, u64>,
    /// Tells the holder's stream that there are some.
    pub news: Arc<Notify>,
}

impl Wishes {
    /// Those who wait for a record are to be told from this one on.
    pub fn add(&mut self, record: &Bytes, waiter: u64) {
        let from = self.untold.entry(record.clone()).or_insert(waiter);
        *from = waiter.min(*from);
        self.news.notify_one();
    }

    /// The next that still holds, of a session at the other end of a stream; `owned_since`: which revision made it a
    /// record's owner, if it is.
    fn next(
        &mut self,
        waiters: &mut Waiters,
        session: &str,
        stream: u64,
        owned_since: impl Fn(&[u8]) -> Option<u64>,
    ) -> Option<ReleaseWanted> {
        while let Some(mut first) = self.untold.first_entry() {
            let wish = owned_since(first.key()).and_then(|since| {
                let told = Some(Told { stream, since });
                // News of a claim may come after its owner was told of who waits: once is enough.
                let is_untold =
                    |waiter: &Waiter| *waiter.session != *session && waiter.told != told;
                let mut others = waiters.from(first.key(), *first.get());
                let (number, waiter) = others.find(|(_, waiter)| is_untold(waiter))?;
                waiter.told = told;
                Some((number, waiter.wish(Instant::now())))
            });
            let Some((number, wish)) = wish else {
                first.remove();
                continue;
            };
            *first.get_mut() = number + 1;
            return Some(wish);
        }
        None
    }
}

impl Hub {
    /// The next wish that the holder at the other end of a stream is to be told; waits for one.
    pub(super) async fn wish(&self, key: &SessionKey, stream: u64, news: &Notify) -> ReleaseWanted {
        loop {
            if let Some(wish) = self.untold_wish(key, stream) {
                return wish;
            }
            news.notified().await;
        }
    }

    fn untold_wish(&self, key: &SessionKey, stream: u64) -> Option<ReleaseWanted> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let attached = state.presences.get_mut(key)?.attached_mut()?;
        if attached.number != stream {
            return None;
        }
        let index = self.store().index();
        let owned_since = |record: &[u8]| {
            let claim = index
                .claim(record)
                .filter(|claim| *claim.session == *key.id);
            claim.map(|claim| claim.revision)
        };
        (attached.wishes).next(&mut state.waiters, &key.id, stream, owned_since)
    }
}

#[cfg(test)]
mod tests {
    use stillpoint_proto::v1::RecordKey;

    use super::*;

    fn waiter(session: &str) -> Waiter {
        Waiter {
            session: session.into(),
            wanted_by: session.into(),
            name: RecordKey::default(),
            until: Instant::now(),
            steals: false,
            turn: Arc::new(Notify::new()),
            told: None,
        }
    }

    fn told(wishes: &mut Wishes, waiters: &mut Waiters, since: Option<u64>) -> Vec<String> {
        std::iter::from_fn(|| wishes.next(waiters, "me", 7, |_| since))
            .map(|wish| wish.wanted_by)
            .collect()
    }

    #[test]
    fn each_who_waits_is_told_once_and_who_has_gone_or_is_the_owner_is_not() {
        let (mut wishes, mut waiters) = (Wishes::default(), Waiters::default());
        let (first, second) = (Bytes::from_static(b"1"), Bytes::from_static(b"2"));
        for (key, name) in [
            (&second, "a"),
            (&first, "b"),
            (&second, "gone"),
            (&second, "me"),
            (&second, "c"),
        ] {
            let (number, _) = waiters.push(key, waiter(name));
            wishes.add(key, number);
            if name == "gone" {
                waiters.remove(key, number);
            }
        }
        assert_eq!(told(&mut wishes, &mut waiters, Some(1)), ["b", "a", "c"]);
        assert!(wishes.untold.is_empty());
        let (number, _) = waiters.push(&second, waiter("d"));
        wishes.add(&second, number);
        assert_eq!(told(&mut wishes, &mut waiters, Some(1)), ["d"]);
        wishes.add(&second, 0);
        assert!(
            told(&mut wishes, &mut waiters, Some(1)).is_empty(),
            "it was told"
        );
        wishes.add(&second, 0);
        let again = told(&mut wishes, &mut waiters, Some(2));
        assert_eq!(again, ["a", "c", "d"], "it lost the record meanwhile");
    }

    #[test]
    fn of_a_record_that_was_lost_nothing_is_told() {
        let (mut wishes, mut waiters) = (Wishes::default(), Waiters::default());
        let record = Bytes::from_static(b"1");
        let (number, _) = waiters.push(&record, waiter("a"));
        wishes.add(&record, number);
        assert!(told(&mut wishes, &mut waiters, None).is_empty());
        assert!(wishes.untold.is_empty());
    }
}

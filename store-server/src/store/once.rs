//! Writes that have a name: whoever repeats one gets its first answer, also after the process that sent it is gone.
//!
//! Like the table of answers of single writers ([`dedup`](super::dedup)) this one is not written anywhere: log entries have
//! the names, and the table is rebuilt from the part of the log that is younger than the dedup window. What is older is
//! forgotten, and then nobody can tell a repeat from a write that never was. So a name comes with a revision at which the
//! write had not been done. The table is complete from its *floor* on: a name that is not in it, with a revision at or
//! above the floor, was never applied; one below is refused.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use prost::Message;
use stillpoint_proto::v1::{OnceKey, OpResult, Reason, StoreError};

/// The table of named writes.
#[derive(Debug)]
pub struct Once {
    answers: HashMap<(Arc<str>, Bytes), Answer>,
    /// The oldest first.
    order: VecDeque<(Arc<str>, Bytes)>,
    /// Revisions from which on the table is complete, by namespace; 0 where none is named.
    floors: HashMap<Arc<str>, u64>,
    bytes: usize,
    window: Duration,
}

#[derive(Debug)]
struct Answer {
    result: OpResult,
    revision: u64,
    bytes: usize,
    /// Not the wall clock: a step of it must not make the store forget.
    at: Instant,
}

/// Most names remembered at a time; one more is refused with QUOTA.
const NAMES_MAX: usize = 1 << 20;

/// Most bytes of all names and answers; one more is refused with QUOTA.
const BYTES_MAX: usize = 256 << 20;

/// About what an entry costs beside name and answer.
const ENTRY_BYTES: usize = 200;

impl Once {
    /// An empty table that forgets after this time.
    pub fn new(window: Duration) -> Once {
        Once {
            answers: HashMap::new(),
            order: VecDeque::new(),
            floors: HashMap::new(),
            bytes: 0,
            window,
        }
    }

    /// The answer of this write, if it was done before; an error if that cannot be told. `revision` is the namespace's
    /// newest.
    pub fn check(
        &self,
        namespace: &Arc<str>,
        key: &OnceKey,
        revision: u64,
    ) -> Result<Option<OpResult>, StoreError> {
        if key.since_revision > revision {
            let message = format!(
                "the write named {:?} was not done since revision {}, but the namespace is at revision {revision}: name \
                 a revision that was seen",
                key.name.escape_ascii().to_string(),
                key.since_revision
            );
            return Err(StoreError::new(Reason::Invalid, message));
        }
        if let Some(answer) = self.answers.get(&(namespace.clone(), key.name.clone())) {
            return Ok(Some(answer.result.clone()));
        }
        let floor = self.floors.get(namespace).copied().unwrap_or(0);
        if key.since_revision < floor {
            let message = format!(
                "whether the write named {:?} was done since revision {} is forgotten: answers are remembered for {} s \
                 (log.dedup_window_secs), which is since revision {floor}; look at the records themselves",
                key.name.escape_ascii().to_string(),
                key.since_revision,
                self.window.as_secs()
            );
            return Err(StoreError::new(Reason::Compacted, message));
        }
        if self.answers.len() >= NAMES_MAX || self.bytes >= BYTES_MAX {
            let message = format!(
                "{} named writes with {} bytes are remembered, which is the limit: they are forgotten {} s after they \
                 were done (log.dedup_window_secs)",
                self.answers.len(),
                self.bytes,
                self.window.as_secs()
            );
            return Err(StoreError::new(Reason::Quota, message));
        }
        Ok(None)
    }

    /// Remembers the answer of a write.
    pub fn insert(&mut self, namespace: &Arc<str>, name: &Bytes, revision: u64, result: OpResult) {
        let key = (namespace.clone(), name.clone());
        let bytes = name.len() + result.encoded_len() + ENTRY_BYTES;
        let answer = Answer {
            result,
            revision,
            bytes,
            at: Instant::now(),
        };
        self.bytes += bytes;
        match self.answers.insert(key.clone(), answer) {
            Some(replaced) => self.bytes -= replaced.bytes,
            None => self.order.push_back(key),
        }
    }

    /// The table does not reach back beyond this revision.
    pub fn raise_floor(&mut self, namespace: &Arc<str>, revision: u64) {
        let floor = self.floors.entry(namespace.clone()).or_default();
        *floor = revision.max(*floor);
    }

    /// Forgets what is older than the window.
    pub fn forget_old(&mut self) {
        while let Some(key) = self.order.front()
            && let Some(answer) = self.answers.get(key)
            && answer.at.elapsed() >= self.window
        {
            let (revision, bytes) = (answer.revision, answer.bytes);
            self.bytes -= bytes;
            self.answers.remove(key);
            if let Some((namespace, _)) = self.order.pop_front() {
                self.raise_floor(&namespace, revision);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use stillpoint_proto::v1::{GetResult, Record, op_result::Kind};

    use super::*;

    fn key(name: &'static str, since_revision: u64) -> OnceKey {
        OnceKey {
            name: Bytes::from_static(name.as_bytes()),
            since_revision,
        }
    }

    #[test]
    fn a_name_that_may_have_been_forgotten_is_refused_and_one_that_cannot_have_been_is_new() {
        let mut once = Once::new(Duration::ZERO);
        let namespace: Arc<str> = "world".into();
        once.insert(
            &namespace,
            &Bytes::from_static(b"trade"),
            7,
            OpResult::default(),
        );
        let known = once.check(&namespace, &key("trade", 6), 9).expect("known");
        assert_eq!(known, Some(OpResult::default()));
        once.forget_old();
        let error = once
            .check(&namespace, &key("trade", 6), 9)
            .expect_err("forgotten");
        assert_eq!(error.reason(), Reason::Compacted);
        assert!(error.message.contains("since revision 7"), "{error}");
        assert_eq!(
            once.check(&namespace, &key("trade", 7), 9).expect("new"),
            None
        );
        assert_eq!(once.bytes, 0);
    }

    #[test]
    fn a_revision_that_nobody_can_have_seen_is_refused() {
        let once = Once::new(Duration::ZERO);
        let error = once
            .check(&"world".into(), &key("trade", 10), 9)
            .expect_err("the future");
        assert_eq!(error.reason(), Reason::Invalid);
    }

    #[test]
    fn beyond_its_bounds_the_table_takes_no_name_until_it_forgets_some() {
        let mut once = Once::new(Duration::ZERO);
        let namespace: Arc<str> = "world".into();
        // One value, shared by all answers.
        let value = Bytes::from(vec![0; 16 << 20]);
        let answer = || OpResult {
            kind: Some(Kind::Get(GetResult {
                record: Some(Record {
                    value: value.clone(),
                    ..Record::default()
                }),
                claim: None,
            })),
        };
        for n in 0..BYTES_MAX / value.len() {
            let name = n.to_string().into();
            assert!(once.bytes < BYTES_MAX);
            once.insert(&namespace, &name, 1, answer());
        }
        let error = once.check(&namespace, &key("new", 1), 1).expect_err("full");
        assert_eq!(error.reason(), Reason::Quota);
        // What it knows it still tells.
        let known = once.check(&namespace, &key("7", 1), 1).expect("known");
        assert_eq!(known, Some(answer()));
        once.forget_old();
        assert_eq!(once.check(&namespace, &key("new", 1), 1), Ok(None));
    }
}

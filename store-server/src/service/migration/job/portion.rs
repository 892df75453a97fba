//! Some records of a collection, converted.

use std::{
    mem,
    ops::Bound,
    time::{Duration, Instant},
};

use bytes::Bytes;
use stillpoint_migrations::StepError;
use stillpoint_proto::v1::{Reason, StoreError};
use tokio::sync::watch;

use super::{
    Name,
    before::{Remembered, Sought},
    pace::Pace,
};
use crate::{
    engine::KeyRange,
    store::{
        Store, keys,
        record::Record,
        schema::{
            Lineage, Rewritten,
            state::{Quarantined, SchemaState},
        },
        server_time_ms,
    },
};

/// Records that are looked at for one portion.
const SEEN_MAX: u64 = 4096;

/// Bytes of the values that are rewritten in one; the record that exceeds it is the last one.
const BYTES_MAX: usize = 1 << 20;

/// Records that are counted between two looks at the clock.
const COUNTED: u64 = 256;

/// Time after which no further record is converted, or counted.
const TIME_MAX: Duration = Duration::from_millis(5);

/// The work on one collection, from portion to portion.
pub struct Work {
    store: Store,
    stopping: watch::Receiver<bool>,
    name: Name,
    remembered: Remembered,
    /// Records that were counted so far, up to this one.
    counted: (u64, Bytes),
}

/// What a portion came to.
#[derive(Default)]
pub struct Portion {
    /// The records, as they are to be.
    pub rewritten: Vec<Rewritten>,
    /// Those that cannot be converted, by their keys in the collection.
    pub failed: Vec<(Bytes, Quarantined)>,
    /// Records that were looked at.
    pub seen: u64,
    /// The last of them.
    pub cursor: Bytes,
    /// There are no more.
    pub is_last: bool,
    /// How long the work took ...
    pub worked: Duration,
    /// ... and looking into the log besides.
    pub looked: Duration,
}

/// What becomes of a record.
enum Converted {
    To(Bytes),
    Failed(String),
    /// Nobody knows, as the server stops.
    Interrupted,
}

impl Work {
    /// The work on a collection, until the server stops.
    pub fn new(store: &Store, stopping: watch::Receiver<bool>, name: &Name) -> Work {
        Work {
            store: store.clone(),
            stopping,
            remembered: Remembered::default(),
            name: name.clone(),
            counted: (0, Bytes::new()),
        }
    }

    /// Whether it holds what records were before.
    pub fn remembers(&self) -> bool {
        !self.remembered.is_empty()
    }

    /// Goes on with counting the collection's records: how long that took, and how many there are once that is known.
    pub fn count(&mut self) -> Result<(Duration, Option<u64>), StoreError> {
        let begun = Instant::now();
        let (mut count, after) = mem::take(&mut self.counted);
        for found in self.store.live_records(self.range(&after)) {
            let (key, _) = found?;
            count += 1;
            if count.is_multiple_of(COUNTED) && begun.elapsed() >= TIME_MAX {
                self.counted = (count, key);
                return Ok((begun.elapsed(), None));
            }
        }
        Ok((begun.elapsed(), Some(count)))
    }

    /// The records behind a key of the collection.
    fn range(&self, after: &[u8]) -> KeyRange {
        let Name {
            namespace,
            collection,
        } = &self.name;
        let (low, high) = keys::scan_range(namespace, collection, b"", b"", b"");
        match after {
            [] => (low, high),
            after => (
                Bound::Excluded(keys::record(namespace, collection, after)),
                high,
            ),
        }
    }

    /// Converts the next records, as many as the pace allows. `None`: the server stops.
    pub fn portion(
        &mut self,
        state: &SchemaState,
        pace: Pace,
    ) -> Result<Option<Portion>, StoreError> {
        let begun = Instant::now();
        let looked_before = self.remembered.looked();
        let store = self.store.clone();
        let table = store.schemas();
        let lineage = table.lineage(&self.name.namespace, &self.name.collection);
        let mut portion = Portion {
            cursor: state.cursor.clone().into(),
            ..Portion::default()
        };
        let mut bytes = 0;
        for found in store.live_records(self.range(&state.cursor)) {
            let is_full = portion.rewritten.len() >= pace.records()
                || bytes >= BYTES_MAX
                || portion.seen >= SEEN_MAX
                || begun.elapsed() >= TIME_MAX && portion.seen > 0
                || state.failed + portion.failed.len() as u64 > state.failed_max;
            if is_full {
                return Ok(Some(self.timed(portion, begun, looked_before)));
            }
            let (key, record) = found?;
            let Some(record) = record else {
                continue;
            };
            if record.schema != state.version {
                match self.convert(state, pace, &lineage, (&key, &record))? {
                    Converted::To(value) => {
                        bytes += value.len();
                        portion.rewritten.push(Rewritten {
                            key: keys::record(&self.name.namespace, &self.name.collection, &key),
                            seen_rev: record.mod_rev,
                            value,
                            schema: state.version,
                        });
                    }
                    Converted::Failed(error) => {
                        let failed = Quarantined {
                            schema: record.schema,
                            mod_rev: record.mod_rev,
                            error,
                            time_ms: server_time_ms(),
                        };
                        portion.failed.push((key.clone(), failed));
                    }
                    Converted::Interrupted => return Ok(None),
                }
            }
            portion.seen += 1;
            portion.cursor = key;
        }
        portion.is_last = true;
        Ok(Some(self.timed(portion, begun, looked_before)))
    }

    /// A portion with the time that it took.
    fn timed(&self, portion: Portion, begun: Instant, looked_before: Duration) -> Portion {
        let looked = self.remembered.looked() - looked_before;
        Portion {
            worked: begun.elapsed().saturating_sub(looked),
            looked,
            ..portion
        }
    }

    fn convert(
        &mut self,
        state: &SchemaState,
        pace: Pace,
        lineage: &Lineage,
        (key, record): (&Bytes, &Record),
    ) -> Result<Converted, StoreError> {
        let to = state.version;
        let broken = |error: StepError| StoreError::new(Reason::Internal, error.to_string());
        if state.from_history && record.schema > to {
            let link = lineage.without_down(to, record.schema).map_err(broken)?;
            if let Some(link) = link {
                return self.recall(lineage, to, pace, &link.path, (key, record));
            }
        }
        let brought = lineage.travel(record.schema, to, key, &record.value);
        Ok(converted(brought))
    }

    /// What a record was, brought to this version.
    fn recall(
        &mut self,
        lineage: &Lineage,
        to: u32,
        pace: Pace,
        script: &str,
        (key, record): (&Bytes, &Record),
    ) -> Result<Converted, StoreError> {
        let sought = Sought {
            name: &self.name,
            to,
            rest: self.range(key),
            records_max: pace.remembered(),
        };
        let goes_on = || !*self.stopping.borrow();
        let recalled = (self.remembered).recall(&self.store, sought, (key, record), goes_on)?;
        let Some(before) = recalled else {
            return Ok(Converted::Interrupted);
        };
        Ok(match before {
            Ok(before) => converted(lineage.travel(before.schema, to, key, &before.value)),
            Err(why) => Converted::Failed(format!("{script} has no `down`, and {why}")),
        })
    }
}

fn converted(brought: Result<Bytes, StepError>) -> Converted {
    match brought {
        Ok(value) => Converted::To(value),
        Err(error) => Converted::Failed(error.to_string()),
    }
}

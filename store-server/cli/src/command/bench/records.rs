//! The documents, and which of them is touched next.

use std::time::Duration;

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::SliceRandom};
use rand_distr::{Distribution, Zipf};
use rmpv::Value;
use stillpoint_client::{CallOptions, Client};
use stillpoint_proto::v1::{PutOp, RecordKey, op};

use super::{plan::Workload, server::Target};
use crate::{failure::Failure, json, port::operation, progress, record::object};

/// The exponent of YCSB's zipfian distribution.
const ZIPF_EXPONENT: f64 = 0.99;

/// Choices made beforehand and then taken in turn, so that choosing costs nothing.
const PICKS: usize = 1 << 16;

/// Writes in flight while the records are loaded.
const LOAD_IN_FLIGHT: usize = 256;

/// The records of one size.
#[derive(Debug)]
pub struct Records {
    /// Their collection.
    pub collection: String,
    /// How many they are.
    pub count: u32,
    /// The letters that fill a document up to its size.
    pub padding: usize,
}

/// One operation to be done: on which record, and whether it is a read.
#[derive(Clone, Copy, Debug)]
pub struct Pick {
    /// The record's number, from 0.
    pub record: u32,
    /// Whether it is only read.
    pub is_read: bool,
}

impl Records {
    /// `count` records with documents of `size` bytes.
    pub fn new(size: u32, count: u32) -> Records {
        let least = encoded(0, 0).len();
        // Letters beyond 31 need one byte more to say how many they are, beyond 255 two.
        let fits = |padding: &usize| encoded(0, *padding).len() <= size as usize;
        let most = (size as usize).saturating_sub(least);
        let padding = (0..=most).rev().find(fits).unwrap_or(0);
        Records {
            collection: format!("doc-{size}"),
            count,
            padding,
        }
    }

    /// The key of a record. All keys have the same length.
    pub fn key(record: u32) -> Bytes {
        format!("player-{record:08}").into()
    }

    /// The name of a record.
    pub fn name(&self, record: u32) -> RecordKey {
        RecordKey {
            collection: self.collection.clone(),
            key: Self::key(record),
        }
    }

    /// A document of a record.
    pub fn document(&self, gold: u32) -> Bytes {
        encoded(gold, self.padding).into()
    }

    /// A workload's operations, the same in every run.
    pub fn picks(&self, workload: Workload) -> Vec<Pick> {
        let mut random = SmallRng::seed_from_u64(1);
        // The popular records must not be neighbours.
        let mut scattered: Vec<u32> = (0..self.count).collect();
        scattered.shuffle(&mut random);
        let zipf = Zipf::new(f64::from(self.count), ZIPF_EXPONENT).expect("both are positive");
        let pick = |_| Pick {
            record: match workload.is_zipfian() {
                true => scattered[zipf.sample(&mut random) as usize - 1],
                false => random.random_range(0..self.count),
            },
            is_read: random.random_range(0..100) < workload.reads_percent(),
        };
        (0..PICKS).map(pick).collect()
    }

    /// Writes all records.
    pub fn load(&self, target: &Target) -> Result<(), Failure> {
        self.load_from(0, target)
    }

    /// Writes the records from this one on.
    pub fn load_from(&self, first: u32, target: &Target) -> Result<(), Failure> {
        let client = target.connect()?;
        let count = self.count.saturating_sub(first);
        let bar = progress::steps(&format!("loading {}", self.collection), count.into());
        let mut in_flight = 0;
        for record in first..self.count {
            while in_flight >= LOAD_IN_FLIGHT {
                in_flight -= settle(&client)?;
            }
            let put = PutOp {
                key: Some(self.name(record)),
                value: self.document(0),
                ..PutOp::default()
            };
            client.submit(operation(op::Kind::Put(put)), CallOptions::default())?;
            in_flight += 1;
            bar.inc(1);
        }
        while in_flight > 0 {
            in_flight -= settle(&client)?;
        }
        bar.finish_and_clear();
        Ok(())
    }
}

/// Waits for answers; how many came.
fn settle(client: &Client) -> Result<usize, Failure> {
    client.poll(Duration::from_secs(1));
    let mut settled = 0;
    while let Some(id) = client.next() {
        if let Some(outcome) = client.take(id) {
            outcome?;
        }
        settled += 1;
    }
    Ok(settled)
}

/// A player of a small game. The same document is in `workload.lua`.
fn encoded(gold: u32, padding: usize) -> Vec<u8> {
    json::to_msgpack(&object([
        ("name", "Ann of the Bench".into()),
        ("gold", gold.into()),
        ("level", 7.into()),
        ("pos", object([("x", 12.5.into()), ("y", (-3.25).into())])),
        (
            "bag",
            Value::Array(["sword", "rope"].map(Into::into).to_vec()),
        ),
        ("note", "x".repeat(padding).into()),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_have_the_size_asked_for() {
        for size in [100, 255, 400, 4096, 70_000] {
            let len = Records::new(size, 1).document(0).len();
            // Where one letter more needs two bytes more, a byte is left.
            assert!(
                (size as usize - 1..=size as usize).contains(&len),
                "{size}: {len}"
            );
        }
    }

    #[test]
    fn picks_follow_the_workload() {
        let records = Records::new(100, 1000);
        let share = |workload: Workload| {
            let picks = records.picks(workload);
            picks.iter().filter(|pick| pick.is_read).count() * 100 / picks.len()
        };
        assert_eq!(share(Workload::Get), 100);
        assert_eq!(share(Workload::Put), 0);
        assert!((94..=96).contains(&share(Workload::YcsbB)));
        let most = |workload: Workload| {
            let mut counts = vec![0; 1000];
            for pick in records.picks(workload) {
                counts[pick.record as usize] += 1;
            }
            counts.into_iter().max().unwrap()
        };
        assert!(most(Workload::YcsbC) > 10 * most(Workload::Get));
    }
}

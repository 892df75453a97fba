//! Random histories, restored from the log and from backups, against a model.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use stillpoint_proto::v1::{Record, RestoreChange, RestoreRecordsRequest, op_result};

use crate::operator::{Records, World, all, delete, put, revision, txn};

/// What matters of a record: its value, schema and expiry.
type State = BTreeMap<Bytes, (Bytes, u32, u64)>;

fn next(random: &mut u64, below: u64) -> u64 {
    *random = random
        .wrapping_mul(6364136223846793005)
        .wrapping_add(1442695040888963407);
    (*random >> 33) % below
}

fn state(records: &Records) -> State {
    let what = |(key, record): (&Bytes, &Record)| (key.clone(), content(record));
    records.iter().map(what).collect()
}

fn content(record: &Record) -> (Bytes, u32, u64) {
    (record.value.clone(), record.schema, record.expires_at_ms)
}

/// The changes that bring some records from one state to another.
fn changes(now: &State, then: &State, is_wanted: impl Fn(&Bytes) -> bool) -> Vec<Change> {
    let keys: BTreeSet<_> = now.keys().chain(then.keys()).collect();
    let wanted = keys.into_iter().filter(|key| is_wanted(key));
    wanted
        .map(|key| (key.clone(), now.get(key).cloned(), then.get(key).cloned()))
        .filter(|(_, now, then)| now != then)
        .collect()
}

type Change = (Bytes, Option<(Bytes, u32, u64)>, Option<(Bytes, u32, u64)>);

fn told(changes: &[RestoreChange]) -> Vec<Change> {
    let each = changes.iter().map(|change| {
        let key = change.key.clone().unwrap().key;
        (
            key,
            change.now.as_ref().map(content),
            change.then.as_ref().map(content),
        )
    });
    each.collect()
}

/// A value that fills the log's segments.
fn padded(n: u64) -> String {
    format!("\"{n:0600}\"")
}

/// Commits a random transaction: writes, deletions, and records that are deleted and made again in one.
async fn live(world: &mut World, random: &mut u64, nth: u64) -> u64 {
    let mut ops = Vec::new();
    for _ in 0..=next(random, 3) {
        let name = format!(
            "{}{}",
            ["a", "b"][next(random, 2) as usize],
            next(random, 8)
        );
        match next(random, 8) {
            0 | 1 => ops.push(delete(&name)),
            2 => ops.extend([delete(&name), put(&name, &padded(nth))]),
            _ => ops.push(put(&name, &padded(next(random, 3)))),
        }
    }
    match world.does(txn(ops)).await {
        op_result::Kind::Txn(done) => done.revision,
        other => panic!("not the answer to a transaction: {other:?}"),
    }
}

/// Whether a key is among those asked for.
type Selects = Box<dyn Fn(&Bytes) -> bool>;

/// Some of the records: keys that there may be, a prefix, or all.
fn some(random: &mut u64) -> (RestoreRecordsRequest, Selects) {
    match next(random, 3) {
        0 => {
            let count = 1 + next(random, 4);
            let keys = (0..count).map(|_| {
                let key = format!(
                    "{}{}",
                    ["a", "b"][next(random, 2) as usize],
                    next(random, 10)
                );
                Bytes::from(key)
            });
            let keys: Vec<_> = keys.collect();
            let request = RestoreRecordsRequest {
                keys: keys.clone(),
                ..all(None)
            };
            (request, Box::new(move |key| keys.contains(key)))
        }
        1 => {
            let request = RestoreRecordsRequest {
                prefix: Bytes::from_static(b"b"),
                ..all(None)
            };
            (request, Box::new(|key| key.starts_with(b"b")))
        }
        _ => (all(None), Box::new(|_| true)),
    }
}

/// The state after each revision; the first is that of the empty store.
struct History(Vec<State>);

impl History {
    fn now(&self) -> &State {
        &self.0[self.0.len() - 1]
    }

    /// A revision that may have changed the state. Those before it, which nobody spoke of, have not.
    fn note(&mut self, revision: u64, state: State) {
        let now = self.now().clone();
        if revision as usize >= self.0.len() {
            self.0.resize(revision as usize, now);
            self.0.push(state);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_and_backups_tell_the_same_of_any_moment() {
    let mut world = World::new().await;
    let (mut random, mut history) = (20_261_123, History(vec![State::new()]));
    let mut backed_up = 0;
    for case in 0..200 {
        for nth in 0..next(&mut random, 4).max(u64::from(case == 0)) {
            let revision = live(&mut world, &mut random, case * 10 + nth).await;
            let records = world.records("doc").await;
            history.note(revision, state(&records));
        }
        if case % 10 == 0 {
            world.back_up(case > 0).await;
            if case == 0 {
                backed_up = history.0.len() as u64 - 1;
            }
        }
        let at = 1 + next(&mut random, history.0.len() as u64 - 1);
        let (request, is_wanted) = some(&mut random);
        let request = RestoreRecordsRequest {
            point: revision(at),
            ..request
        };
        let now = history.now().clone();
        let expected = changes(&now, &history.0[at as usize], &is_wanted);
        let rehearsal = RestoreRecordsRequest {
            dry_run: true,
            ..request.clone()
        };
        let from_log = world.restore(rehearsal.clone()).await.unwrap();
        assert_eq!(
            told(&from_log.changes),
            expected,
            "case {case}, revision {at}"
        );
        assert_eq!(from_log.end.commits, 0);
        assert_eq!(
            state(&world.records("doc").await),
            now,
            "a rehearsal changes nothing"
        );
        if case % 5 == 0 && at >= backed_up {
            let from_backup = RestoreRecordsRequest {
                target: world.target(),
                ..rehearsal
            };
            match world.restore(from_backup).await {
                Ok(from_backup) => {
                    assert_eq!(
                        told(&from_backup.changes),
                        expected,
                        "case {case}, revision {at}"
                    );
                    assert_eq!(from_backup.end.seq, from_log.end.seq);
                }
                // What is newer than the newest backup is in none.
                Err(error) => assert!(error.message.contains("is not in the backups"), "{error}"),
            }
        }
        if case % 4 == 0 {
            let restored = world.restore(request).await.unwrap();
            assert_eq!(told(&restored.changes), expected);
            assert_eq!(restored.end.commits, u64::from(!expected.is_empty()));
            let mut becomes = now;
            for (key, _, then) in expected {
                match then {
                    Some(then) => drop(becomes.insert(key, then)),
                    None => drop(becomes.remove(&key)),
                }
            }
            assert_eq!(state(&world.records("doc").await), becomes, "case {case}");
            history.note(restored.end.revision, becomes);
        }
    }
}

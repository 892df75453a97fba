//! Answers are remembered over a start whatever the wall clock does meanwhile: it may be set back or forward.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use stillpoint_proto::v1::op_result::Kind;
use stillpoint_store_server::log::{
    Appender, Change, Entry, FrameBuilder, OnTornTail, Origin, Written, entry::Writer, recover,
    recovery::Expected,
};

use crate::{
    common::{Content, NAMESPACE, key, put, value},
    world::{World, named, numbered, send},
};

/// Longer than answers are remembered.
const DAY_MS: i64 = 24 * 3_600_000;

/// A put of `c/NAME`, as the log has it: with its name and its number.
struct Commit {
    name: &'static str,
    number: u64,
    revision: u64,
    time_ms: u64,
}

impl Commit {
    fn append_to(&self, out: &mut Vec<u8>) {
        let (value, key) = (value("1"), key("c", self.name).unwrap());
        let entry = Entry {
            namespace: NAMESPACE,
            revision: self.revision,
            incarnation: 1,
            time_ms: self.time_ms,
            origin: Origin::Client,
            principal: "",
            session: "",
            writer: Some(Writer {
                id: b"one writer",
                sequence: self.number,
                first_incomplete: 1,
            }),
            records_delta: 1,
            changes: vec![Change {
                collection: "c",
                key: &key.key,
                written: Some(Written {
                    create_rev: self.revision,
                    version: 1,
                    schema: 0,
                    expires_at_ms: 0,
                    value: &value,
                }),
            }],
            reply: &[],
            once: self.name.as_bytes(),
            state_hash: &[],
        };
        entry.encode(out);
    }
}

/// Adds commits to the log of a store that is closed.
fn append(log: &Path, store_id: [u8; 16], commits: &[Commit]) {
    let expected = Expected {
        store_id,
        first_seq: 1,
        verify_all: true,
        torn: OnTornTail::Cut,
    };
    let found = recover(log, &expected).unwrap();
    let (next_seq, crc, segments) = (found.next_seq, found.previous_crc, found.segments);
    let mut appender = Appender::create(log, store_id, 1 << 20, next_seq, crc, segments).unwrap();
    for commit in commits {
        let mut frame = FrameBuilder::default();
        frame.begin(appender.next_seq());
        frame.push(|out| commit.append_to(out));
        appender.append(&mut frame, commit.time_ms).unwrap();
    }
    appender.close().unwrap();
}

/// A store with these commits: how each is named, and how long after now it says to have been done, in milliseconds.
fn store_of(after_ms: &[(&'static str, i64)]) -> World {
    let mut world = World::new(|_| {});
    let store_id = world.store.header().store_id[..].try_into().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let commits = after_ms
        .iter()
        .zip(1..)
        .map(|((name, after_ms), revision)| Commit {
            name,
            number: revision,
            revision,
            time_ms: (now.as_millis() as u64).saturating_add_signed(*after_ms),
        });
    let commits: Vec<_> = commits.collect();
    world.close_then(|dir| append(&dir.path().join("log"), store_id, &commits));
    world
}

/// Repeats all, by name and by number: each gets its first answer, and nothing is applied again.
fn repeat(world: &World, names: &[&str]) {
    let store = &world.store;
    let before = Content::of(store);
    assert_eq!(before.revision, names.len() as u64);
    for (name, revision) in names.iter().zip(1..) {
        for again in [
            named(name, revision - 1, put(name, "2")),
            numbered(revision, put(name, "2")),
        ] {
            match send(store, None, again) {
                Ok(Kind::Put(put)) => assert_eq!(put.mod_rev, revision, "{name}"),
                other => panic!("{name}: not the first answer: {other:?}"),
            }
        }
    }
    assert_eq!(Content::of(store), before);
    store.close();
}

#[test]
fn what_was_done_after_the_clock_was_set_back_is_remembered_with_what_was_done_before() {
    let world = store_of(&[
        ("before", -10),
        ("set back", -DAY_MS),
        ("later", -DAY_MS + 10),
    ]);
    repeat(&world, &["before", "set back", "later"]);
}

#[test]
fn what_was_done_before_the_clock_was_set_forward_over_a_start_is_remembered() {
    let world = store_of(&[("one", -DAY_MS), ("two", -DAY_MS + 10)]);
    repeat(&world, &["one", "two"]);
}

#[test]
fn what_was_done_while_the_clock_was_ahead_is_remembered() {
    let world = store_of(&[("ahead", DAY_MS), ("set back", -10)]);
    repeat(&world, &["ahead", "set back"]);
}

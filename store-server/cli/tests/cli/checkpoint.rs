//! The server is killed at random points of checkpoints: it leaves the old one or the new one whole, and a store that opens
//! with every acknowledged write, also where only the checkpoint and the log are left.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;
use stillpoint_client::{CallOptions, Client, Config};
use stillpoint_proto::v1::{GetOp, Op, PutOp, RecordKey, op, op_result::Kind};

use crate::server::Server;

const KILLS: usize = 20;

/// Small, so that there is always a checkpoint being taken, and slow, so that it takes a second or two.
const FLAGS: [&str; 8] = [
    "--checkpoint-bytes=16384",
    "--checkpoint-bytes-per-second=12582912",
    "--segment-bytes=65536",
    "--retention-bytes=0",
    "--retention-secs=0",
    "--dedup-window-secs=0",
    "--overlay-bytes=65536",
    "--disk-reserve-bytes=0",
];

/// Records that make a checkpoint large: more than one portion, and hardly compressible.
const BOOKS: u64 = 20;

const BOOK_BYTES: usize = 500_000;

/// Records that are written all the time.
const COUNTERS: usize = 16;

/// When the server is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Whatever it is doing.
    Anytime,
    /// While a checkpoint is being taken.
    InACheckpoint,
    /// When one is complete, and the one before goes.
    BehindACheckpoint,
}

#[test]
fn a_server_killed_while_it_takes_checkpoints_leaves_the_old_or_the_new_and_a_store_that_opens() {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut directory = tempfile::tempdir().unwrap();
    let counters = Counters::default();
    let (mut interrupted, mut completed) = (0, 0);
    for kill in 0..=KILLS {
        let server = Server::start_in(directory, &FLAGS);
        let client = client(&server);
        counters.check(&client, kill);
        match kill {
            0 => write_books(&client, &mut random),
            _ => check_books(&client),
        }
        if kill == KILLS {
            break;
        }
        let end = [End::Anytime, End::InACheckpoint, End::BehindACheckpoint][kill % 3];
        let before = manifests(server.directory());
        let done = AtomicBool::new(false);
        directory = thread::scope(|scope| {
            scope.spawn(|| counters.write(&client, &done));
            let writes = counters.acknowledged() + random.random_range(0..200);
            let is_time = |dir: &Path| match end {
                End::Anytime => counters.acknowledged() >= writes,
                End::InACheckpoint => is_being_taken(dir),
                End::BehindACheckpoint => manifests(dir) != before,
            };
            while !is_time(server.directory()) {
                thread::yield_now();
            }
            // A random moment behind that, not a wait for anything.
            if end != End::Anytime {
                thread::sleep(Duration::from_micros(random.random_range(0..20_000)));
            }
            let directory = server.kill();
            done.store(true, Ordering::Relaxed);
            directory
        });
        interrupted += usize::from(is_being_taken(directory.path()));
        completed += usize::from(manifests(directory.path()) != before);
        assert_manifests_have_their_files(directory.path());
        if random.random_ratio(1, 2) {
            fs::remove_dir_all(directory.path().join("view")).unwrap();
        }
    }
    println!("{KILLS} kills, {interrupted} in a checkpoint, {completed} behind one");
    assert!(interrupted >= 3 && completed >= 3);
}

fn client(server: &Server) -> Client {
    let socket = server.directory().join("stillpoint.sock");
    Client::connect(Config {
        deadline: Duration::from_secs(2),
        ..Config::new(format!("unix:{}", socket.display()), "world")
    })
    .unwrap()
}

/// What was sent and what was acknowledged, by counter. The next number is that of the last one sent plus one.
#[derive(Default)]
struct Counters {
    sent: [AtomicU64; COUNTERS],
    acknowledged: [AtomicU64; COUNTERS],
}

impl Counters {
    fn write(&self, client: &Client, done: &AtomicBool) {
        for at in (0..COUNTERS).cycle() {
            if done.load(Ordering::Relaxed) {
                return;
            }
            let number = self.sent[at].fetch_add(1, Ordering::Relaxed) + 1;
            // One that is not acknowledged may be there all the same.
            if put(client, "counter", &at.to_string(), &number).is_ok() {
                self.acknowledged[at].store(number, Ordering::Relaxed);
            }
        }
    }

    fn acknowledged(&self) -> u64 {
        let all = self.acknowledged.iter();
        all.map(|number| number.load(Ordering::Relaxed)).sum()
    }

    fn check(&self, client: &Client, kill: usize) {
        for at in 0..COUNTERS {
            let found = get(client, "counter", &at.to_string());
            let found = found.map_or(0, |value| rmp_serde::from_slice(&value).unwrap());
            let least = self.acknowledged[at].load(Ordering::Relaxed);
            let most = self.sent[at].load(Ordering::Relaxed);
            assert!(
                (least..=most).contains(&found),
                "kill {kill}: counter {at} is {found}; {least} was acknowledged, {most} sent"
            );
        }
    }
}

fn write_books(client: &Client, random: &mut StdRng) {
    for book in 0..BOOKS {
        let text: String = std::iter::repeat_with(|| random.random_range('!'..='~'))
            .take(BOOK_BYTES)
            .collect();
        put(client, "book", &book.to_string(), &text).unwrap();
    }
}

fn check_books(client: &Client) {
    for book in 0..BOOKS {
        let value = get(client, "book", &book.to_string()).unwrap();
        assert!(value.len() > BOOK_BYTES, "{book}");
    }
}

fn key(collection: &str, key: &str) -> Option<RecordKey> {
    Some(RecordKey {
        collection: collection.to_owned(),
        key: key.to_owned().into(),
    })
}

fn put(
    client: &Client,
    collection: &str,
    name: &str,
    value: &impl serde::Serialize,
) -> Result<(), Box<dyn std::error::Error>> {
    let kind = op::Kind::Put(PutOp {
        key: key(collection, name),
        value: rmp_serde::to_vec(value)?.into(),
        ..PutOp::default()
    });
    client.call(Op { kind: Some(kind) }, CallOptions::default())?;
    Ok(())
}

fn get(client: &Client, collection: &str, name: &str) -> Option<bytes::Bytes> {
    let kind = op::Kind::Get(GetOp {
        key: key(collection, name),
        ..GetOp::default()
    });
    let answer = client.call(Op { kind: Some(kind) }, CallOptions::default());
    match answer.unwrap().kind {
        Kind::Get(found) => found.record.map(|record| record.value),
        other => panic!("not the answer to a get: {other:?}"),
    }
}

fn items(dir: &Path) -> Vec<PathBuf> {
    let items = fs::read_dir(dir).into_iter().flatten();
    // What is removed meanwhile is not there.
    let mut found: Vec<_> = items.flatten().map(|item| item.path()).collect();
    found.sort();
    found
}

fn manifests(dir: &Path) -> Vec<PathBuf> {
    let mut found = items(&dir.join("checkpoint/manifest"));
    found.retain(|path| path.extension().is_some_and(|e| e == "json"));
    found
}

/// Whether there are files of a checkpoint that has no manifest.
fn is_being_taken(dir: &Path) -> bool {
    let data = items(&dir.join("checkpoint/data"));
    let mut ids = data.iter().filter_map(|path| path.file_name());
    ids.any(|id| {
        let manifest = format!("checkpoint/manifest/{}.json", id.display());
        !dir.join(manifest).exists()
    })
}

fn assert_manifests_have_their_files(dir: &Path) {
    for path in manifests(dir) {
        let text = fs::read(&path).unwrap();
        let sealed: Value = serde_json::from_slice(&text).unwrap();
        let files = sealed["manifest"]["files"].as_array().unwrap();
        assert!(!files.is_empty(), "{}", path.display());
        for file in files {
            let file_path = dir.join("checkpoint").join(file["path"].as_str().unwrap());
            let found = fs::metadata(&file_path).map(|found| found.len());
            let told = file["bytes"].as_u64().unwrap();
            assert_eq!(found.ok(), Some(told), "{}", file_path.display());
        }
    }
}

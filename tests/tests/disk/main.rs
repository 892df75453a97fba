//! Disks that fail and disks that are full, under the real server.
//!
//! - A write or a sync of the log fails: the store stops writing, says so and why, goes on reading, and never tries a sync
//!   again. Whatever it had acknowledged is there after the next start.
//! - Too little room is left: writes are refused until there is room again.

mod shim;

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

use shim::{Failure, calls_behind_failure};
use stillpoint_client::{
    CallOptions, Client,
    v1::{Reason, Record, StoreError, op_result::Kind},
};
use stillpoint_tests::{
    op,
    server::{Server, Setup},
};

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

/// With values of this size the log's smallest segments hold four commits, so the failing call is now that of a commit,
/// now one of a rotation.
const VALUE_BYTES: usize = 20_000;

/// Commits in which the failing call must come.
const COMMITS_MAX: u32 = 60;

#[test]
fn a_full_disk_at_any_write_of_the_log_loses_nothing_acknowledged() {
    for nth in 1..=14 {
        one_by_one(Failure {
            call: "write",
            nth,
            errno: ENOSPC,
            torn: false,
        });
    }
}

#[test]
fn a_write_that_gets_half_through_loses_nothing_acknowledged() {
    for nth in 1..=14 {
        let errno = if nth % 2 == 0 { ENOSPC } else { EIO };
        one_by_one(Failure {
            call: "write",
            nth,
            errno,
            torn: true,
        });
    }
}

#[test]
fn a_failed_fdatasync_stops_the_writer_and_is_never_tried_again() {
    for nth in 1..=10 {
        let errno = if nth % 2 == 0 { ENOSPC } else { EIO };
        one_by_one(Failure {
            call: "fdatasync",
            nth,
            errno,
            torn: false,
        });
    }
}

#[test]
fn a_failed_fsync_stops_the_writer_and_is_never_tried_again() {
    for nth in 1..=9 {
        let errno = if nth % 2 == 0 { EIO } else { ENOSPC };
        one_by_one(Failure {
            call: "fsync",
            nth,
            errno,
            torn: false,
        });
    }
}

#[test]
fn of_many_writes_in_flight_exactly_the_acknowledged_ones_are_promised() {
    for (call, nth) in [("write", 9), ("fdatasync", 8), ("fsync", 7)] {
        in_flight(Failure {
            call,
            nth,
            errno: EIO,
            torn: false,
        });
    }
}

/// Puts one record after the other until the disk fails.
fn one_by_one(failure: Failure) {
    let setup = small_segments();
    match failure.of(&setup).try_start() {
        Ok(server) => {
            let client = server.client("world");
            let (done, error) = put_until_refused(&client);
            assert_stopped_by(&error, failure);
            assert!(error.maybe_applied, "{failure:?}: {error}");
            check_read_only(server, &client, done, failure);
            check_restarted(&setup, done, failure);
        }
        Err((_, said)) => {
            let os_error = format!("(os error {})", failure.errno);
            assert!(said.contains(&os_error), "{failure:?}: {said}");
            check_restarted(&setup, 0, failure);
        }
    }
    assert_eq!(
        calls_behind_failure(&setup),
        Some(vec![]),
        "{failure:?}: the log was touched again"
    );
    shim::clean_up(&setup);
}

/// Puts numbered records until one is refused; gives how many were not, and the refusal.
fn put_until_refused(client: &Client) -> (u32, StoreError) {
    for n in 0..COMMITS_MAX {
        let put = op::put(&key(n), &text(n));
        if let Err(error) = client.call(put, CallOptions::default()) {
            return (n, error);
        }
    }
    panic!("the disk did not fail within {COMMITS_MAX} commits");
}

fn assert_stopped_by(error: &StoreError, failure: Failure) {
    assert_eq!(error.reason(), Reason::ReadOnly, "{failure:?}: {error}");
    for part in [
        &format!("(os error {})", failure.errno),
        "the log",
        "restart the server",
    ] {
        assert!(
            error.message.contains(part),
            "{failure:?}: {error} does not say {part:?}"
        );
    }
}

/// The store takes no more writes and says why; reads go on; it can still be stopped.
fn check_read_only(server: Server, client: &Client, done: u32, failure: Failure) {
    let refused = client
        .call(op::put("later", "x"), CallOptions::default())
        .unwrap_err();
    assert_stopped_by(&refused, failure);
    assert!(!refused.maybe_applied, "{failure:?}: {refused}");
    check_records(client, done, failure);
    assert_eq!(
        get(client, &key(done)),
        None,
        "{failure:?}: what was not acknowledged cannot be read"
    );
    let status = server.admin().status().unwrap();
    assert_eq!(status.read_only_reason, refused.message, "{failure:?}");
    server.terminate();
}

/// What was acknowledged is there with a disk that works, what was not is there whole or not at all.
fn check_restarted(setup: &Setup, done: u32, failure: Failure) {
    let server = setup.start();
    let client = server.client("world");
    check_records(&client, done, failure);
    if let Some(record) = get(&client, &key(done)) {
        assert_eq!(op::text_of(&record), text(done), "{failure:?}");
    }
    assert_eq!(get(&client, "later"), None, "{failure:?}");
    client
        .call(op::put("later", "x"), CallOptions::default())
        .unwrap();
}

fn check_records(client: &Client, done: u32, failure: Failure) {
    for n in 0..done {
        let found = get(client, &key(n)).map(|record| op::text_of(&record));
        assert!(
            found == Some(text(n)),
            "{failure:?}: record {n} of {done} is not there"
        );
    }
}

/// Keeps many writes in flight while the disk fails.
fn in_flight(failure: Failure) {
    let setup = small_segments();
    let server = failure.of(&setup).start();
    let client = server.client("world");
    let mut sent = HashMap::new();
    let mut acknowledged = Vec::new();
    let mut refused = 0;
    for n in 0.. {
        if refused == 0 && n < 10_000 {
            let put = op::put(&key(n), &text(n));
            sent.insert(client.submit(put, CallOptions::default()).unwrap(), n);
        }
        if sent.len() >= 64 || refused > 0 || n >= 10_000 {
            client.poll(Duration::from_secs(1));
        }
        while let Some(id) = client.next() {
            let n = sent.remove(&id).unwrap();
            match client.take(id).unwrap() {
                Ok(_) => acknowledged.push(n),
                Err(error) => {
                    assert_stopped_by(&error, failure);
                    refused += 1;
                }
            }
        }
        if sent.is_empty() && (refused > 0 || n >= 10_000) {
            break;
        }
    }
    assert!(refused > 0, "{failure:?}: the disk did not fail");
    let check = |client: &Client| {
        for &n in &acknowledged {
            let found = get(client, &key(n)).map(|record| op::text_of(&record));
            assert!(
                found == Some(text(n)),
                "{failure:?}: record {n} is not there"
            );
        }
    };
    check(&client);
    server.terminate();
    let server = setup.start();
    check(&server.client("world"));
    assert_eq!(
        calls_behind_failure(&setup),
        Some(vec![]),
        "{failure:?}: the log was touched again"
    );
    shim::clean_up(&setup);
}

#[test]
fn below_the_reserve_writes_are_refused_from_the_first_on_and_reads_go_on() {
    let setup = Setup::new();
    let server = setup.start();
    let client = server.client("world");
    client
        .call(op::put("old", "x"), CallOptions::default())
        .unwrap();
    assert!(server.terminate().success());
    let setup = setup.flag("--disk-reserve-bytes=4611686018427387904");
    let server = setup.start();
    let client = server.client("world");
    let error = client
        .call(op::put("new", "x"), CallOptions::default())
        .unwrap_err();
    assert_eq!(error.reason(), Reason::ReadOnly);
    assert!(error.retryable && !error.maybe_applied, "{error:?}");
    assert!(error.message.contains("log.disk_reserve_bytes"), "{error}");
    assert_eq!(
        server.admin().status().unwrap().read_only_reason,
        error.message
    );
    assert!(get(&client, "old").is_some());
}

#[test]
fn writes_go_on_by_themselves_once_the_disk_has_room_again() {
    // A file system that can be filled without harm, if there is one.
    let folder = Path::new("/dev/shm");
    let Some(free) = free_bytes(folder).filter(|free| *free > 64 << 20) else {
        eprintln!(
            "skipped: no file system in memory with 64 MiB free at {}",
            folder.display()
        );
        return;
    };
    const ROOM: u64 = 16 << 20;
    let setup = Setup::within(folder).flag(format!("--disk-reserve-bytes={}", free - ROOM));
    let server = setup.start();
    let client = server.client("world");
    let try_put = || client.call(op::put("key", "x"), CallOptions::default());
    try_put().unwrap();
    let filler = setup.directory().join("filler");
    let file = fs::File::create(&filler).unwrap();
    for at in 0..(2 * ROOM) >> 20 {
        file.write_all_at(&[1; 1 << 20], at << 20).unwrap();
    }
    drop(file);
    let patience = Instant::now() + Duration::from_secs(60);
    let error = loop {
        match try_put() {
            Ok(_) => assert!(
                Instant::now() < patience,
                "the store did not notice that the disk is full"
            ),
            Err(error) => break error,
        }
    };
    assert_eq!(error.reason(), Reason::ReadOnly, "{error}");
    fs::remove_file(&filler).unwrap();
    while let Err(error) = try_put() {
        assert_eq!(error.reason(), Reason::ReadOnly, "{error}");
        assert!(
            Instant::now() < patience,
            "the store did not notice that the disk has room"
        );
    }
    assert_eq!(server.admin().status().unwrap().read_only_reason, "");
}

/// Nobody is waited for when such a server stops.
fn small_segments() -> Setup {
    Setup::new()
        .flag("--segment-bytes=65536")
        .flag("--shutdown-grace-secs=0")
}

fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(stat.f_bavail * stat.f_frsize)
}

fn key(n: u32) -> String {
    format!("key/{n}")
}

fn text(n: u32) -> String {
    format!("{n} {}", "x".repeat(VALUE_BYTES))
}

fn get(client: &Client, name: &str) -> Option<Record> {
    match client
        .call(op::get(name), CallOptions::default())
        .unwrap()
        .kind
    {
        Kind::Get(get) => get.record,
        other => panic!("not the answer to a get: {other:?}"),
    }
}

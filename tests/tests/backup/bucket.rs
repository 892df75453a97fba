//! Backups in a bucket, as in a directory; and buckets that fail.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use rand::{SeedableRng, rngs::StdRng};
use serde_json::Value;
use stillpoint_tests::{
    bucket::{Bucket, environment},
    server::{Server, Setup},
};

use crate::{
    bank::{self, Clerk},
    place::{Place, Ran, run, start, wait},
    wire::Wire,
};

/// Some portions.
const BOOKS: u64 = 200;

/// How long an operator waits at most until he is told that a bucket does not answer.
const TOLD_WITHIN: Duration = Duration::from_secs(20);

fn served(place: &Place, books: u64) -> Server {
    let server = place.reached_by(&Setup::new()).start();
    bank::open(&server, books, &mut StdRng::seed_from_u64(1));
    server
}

#[test]
fn all_that_is_done_with_backups_is_done_in_a_bucket() {
    let Some(bucket) = Bucket::start() else {
        return;
    };
    let place = Place::at(&bucket.url("world1"), environment(bucket.address()));
    let server = served(&place, BOOKS);
    let clerk = Clerk::begin(&server, 0, 1);
    let old = place.take(&server, &[]);
    let full = place.take(&server, &["--label=first"]);
    let next = place.take(&server, &["--incremental"]);
    let ids = [&old, &full, &next].map(|backup| backup["id"].as_str().unwrap().to_owned());
    assert_eq!(place.ids(), ids);
    let manifest = place.ok(&["backup", "describe", "first", "--json"]);
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["state_hash"], full["state_hash"]);
    assert!(
        manifest["files"].as_array().unwrap().len() > 1,
        "{manifest}"
    );
    let scratch = place.beside("").to_str().unwrap().to_owned();
    let verify = [
        "backup",
        "verify",
        "--restore",
        "--json",
        "--scratch",
        &scratch,
    ];
    let verified: Value = serde_json::from_str(&place.ok(&verify)).unwrap();
    assert_eq!(verified["state_hash"], next["state_hash"]);

    let into = place.free_directory();
    let restored = place.restore(into.directory(), &[]);
    assert_eq!(restored["state_hash"], next["state_hash"]);
    let transfers = bank::audit(&into.start());
    assert!(
        (1..=clerk.acknowledged()).contains(&transfers),
        "{transfers}"
    );

    place.ok(&["backup", "expire", "--monthly=1", "--yes"]);
    assert_eq!(place.ids(), ids[1..]);
    let left = bucket.objects("world1");
    assert!(!left.iter().any(|name| name.contains(&ids[0])), "{left:?}");
    // Prefixes of one bucket have nothing to do with each other.
    let beside = Place::at(&bucket.url("world"), environment(bucket.address()));
    assert_eq!(beside.ids(), [""; 0]);
}

#[test]
fn of_two_stores_that_begin_in_one_place_at_the_same_time_one_is_refused() {
    let Some(bucket) = Bucket::start() else {
        return;
    };
    let prefix = |round| format!("round-{round}");
    let place = |round| Place::at(&bucket.url(&prefix(round)), environment(bucket.address()));
    let servers = [served(&place(0), 0), served(&place(0), 0)];
    for round in 0..5 {
        let place = place(round);
        let both = servers
            .each_ref()
            .map(|server| start(&mut place.create(server, &[])));
        let both = both.map(wait);
        let (taken, refused): (Vec<Ran>, Vec<Ran>) =
            both.into_iter().partition(|ran| ran.code == Some(0));
        assert_eq!(
            (taken.len(), refused.len()),
            (1, 1),
            "{taken:?} {refused:?}"
        );
        let told = &refused[0].stderr;
        assert!(told.contains("has the backups of store"), "{told}");
        let manifests = bucket.objects(&prefix(round)).into_iter();
        assert_eq!(
            manifests.filter(|name| name.contains("manifest/")).count(),
            1
        );
    }
}

#[test]
fn a_bucket_that_is_not_there_or_lets_nobody_in_is_named() {
    let (Some(open), Some(locked)) = (Bucket::start(), Bucket::start_locked()) else {
        return;
    };
    for (url, bucket, why) in [
        ("s3://nowhere/world1", &open, "NoSuchBucket"),
        ("s3://backups/world1", &locked, "InvalidAccessKeyId"),
    ] {
        let place = Place::at(url, environment(bucket.address()));
        let server = served(&place, 0);
        let begun = Instant::now();
        let create = run(&mut place.create(&server, &[])).failed();
        let list = place.run(&["backup", "list"]).failed();
        let into = place.beside("restored");
        let restore = place
            .run(&["restore", "--into", into.to_str().unwrap()])
            .failed();
        for told in [create, list, restore] {
            assert!(told.contains(url) && told.contains(why), "{told}");
        }
        assert!(!into.exists());
        assert!(begun.elapsed() < TOLD_WITHIN, "{:?}", begun.elapsed());
    }
}

#[test]
fn a_bucket_that_is_cut_off_in_the_middle_has_no_half_backup() {
    let Some(bucket) = Bucket::start() else {
        return;
    };
    let whole = Place::at(&bucket.url("world1"), environment(bucket.address()));
    let setup = Setup::new();
    let mut server = setup.start();
    bank::open(&server, BOOKS, &mut StdRng::seed_from_u64(1));
    // The first bytes are those of `store.json`, the last ones those of the second portion of records.
    for bytes in [100, 5_000, 100_000, 4_700_000] {
        assert!(server.terminate().success());
        let wire = Wire::cut_after(bytes, bucket.address());
        let cut = Place::at(whole.url(), environment(wire.address()));
        server = cut.reached_by(&setup).start();
        let told = run(&mut cut.create(&server, &[])).failed();
        assert!(wire.is_cut(), "{told}");
        assert!(told.contains(whole.url()), "{told}");
        assert_eq!(whole.ids(), [""; 0]);
    }
    // What is left there is in nobody's way.
    assert!(server.terminate().success());
    server = whole.reached_by(&setup).start();
    let taken = whole.take(&server, &[]);
    whole.ok(&["backup", "verify"]);
    let wire = Wire::cut_after(1_000, bucket.address());
    let cut = Place::at(whole.url(), environment(wire.address()));
    let into = cut.beside("restored");
    let told = cut
        .run(&["restore", "--into", into.to_str().unwrap()])
        .failed();
    assert!(wire.is_cut() && told.contains(whole.url()), "{told}");
    assert_eq!(fs::read_dir(cut.beside("")).unwrap().count(), 0);
    assert_eq!(whole.ids(), [taken["id"].as_str().unwrap()]);
}

#[test]
fn a_bucket_that_nobody_answers_for_is_named_before_long() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let silent = silent
        .local_addr()
        .map(|address| (silent, address))
        .unwrap();
    let nobody = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.local_addr().unwrap()
    };
    let told_of = |endpoint: SocketAddr| {
        let mut reached = environment(endpoint);
        // An attempt may take 30 s, unless somebody says so.
        reached.push(("AWS_TIMEOUT", "1s".into()));
        let place = Place::at("s3://backups/world1", reached);
        let begun = Instant::now();
        let told = place.run(&["backup", "list"]).failed();
        assert!(told.contains("s3://backups/world1"), "{told}");
        assert!(begun.elapsed() < TOLD_WITHIN, "{:?}", begun.elapsed());
    };
    told_of(nobody);
    // Connections are made, and nothing ever comes.
    told_of(silent.1);
}

//! Watches under writers, kills of the server, and a log that is trimmed: what each has told is compared with what was
//! committed.
//!
//! Writers keep what they were told: which revision did what. In the end that is all there is, since they repeat until they
//! are told. Each watch keeps what it was told, in order. Then every [account](account) must be ordered and complete, with
//! each revision once and whole, and with the exact state where it was resynced.
//!
//! `STILLPOINT_TEST_SEED` repeats a run, as far as the machine allows.

mod account;
mod spoil;
mod truth;
mod watches;
mod writer;

use std::{
    env, thread,
    time::{Duration, Instant},
};

use account::Place;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use stillpoint_client::{
    Client, Config, SessionConfig,
    v1::{WatchRequest, watch_request::Start, watch_response::Kind},
};
use stillpoint_tests::server::{Server, Setup};
use truth::Truth;
use watches::{Watches, from, here, next, of, set_cursor};
use writer::{Writer, patient};

/// Writers without a session.
const WRITERS: usize = 3;

/// How long a watch may at most wait for a bookmark: one is due each second, but the machine may be busy.
const BOOKMARK_WITHIN: Duration = Duration::from_secs(5);

#[test]
fn watches_tell_every_commit_once_and_whole_while_the_server_is_killed() {
    const COMMITS: usize = 2000;
    const KILLS: usize = 6;
    let mut random = seeded();
    let setup = Setup::new().flag("--segment-bytes=262144");
    let server = setup.start();
    let config = patient(&server.url());
    let truth = Truth::default();
    let client = connect(&config);
    Writer::new(&client, &truth).write(fork(&mut random), 50);
    let early = here(&config);
    Writer::new(&client, &truth).write(fork(&mut random), 150);

    let session = Config {
        session: Some(SessionConfig::new("writer", "one")),
        ..config.clone()
    };
    let own = connect(&session);
    let watches = Watches::new(&config, &truth);
    let server = thread::scope(|scope| {
        let (watches, truth, config, own) = (&watches, &truth, &config, &own);
        let _open = truth.open();
        for (name, request) in many_ways(&early) {
            let lag = if name == "slow" { 400 } else { 0 };
            scope.spawn(move || watches.steadily(name, request, early.revision, lag));
        }
        let (reopening, by_cursor) = (fork(&mut random), fork(&mut random));
        scope.spawn(move || watches.reopening(reopening));
        scope.spawn(move || watches.by_cursor(by_cursor));
        scope.spawn(move || watches.of_others(own));
        thread::scope(|scope| {
            let chance = fork(&mut random);
            scope.spawn(move || Writer::new(own, truth).write(chance, COMMITS));
            for _ in 0..WRITERS {
                let chance = fork(&mut random);
                scope.spawn(move || Writer::new(&connect(config), truth).write(chance, COMMITS));
            }
            let part = COMMITS * WRITERS / KILLS;
            (0..KILLS).fold(server, |server, kill| {
                truth.wait_for(200 + kill * part + random.random_range(0..part));
                server.kill();
                setup.start()
            })
        })
    });

    let accounts = watches.into_accounts();
    for account in &accounts {
        let found = account.verify(&truth).unwrap();
        let is_snapshot = account.request().snapshot;
        assert_eq!(
            found.resyncs > 0,
            is_snapshot,
            "{}: {found:?}",
            account.name()
        );
        assert!(
            found.commits > 0 || account.name() != "everything",
            "{found:?}"
        );
    }
    for (what, wrong) in spoil::each_way(&accounts, &mut random) {
        let name = wrong.name();
        assert!(
            wrong.verify(&truth).is_err(),
            "{what} of {name} is not noticed"
        );
    }
    goes_on_from_any_place(&config, &truth, &accounts, &mut random);
    is_bookmarked_while_idle(&config, &truth);
    assert!(server.terminate().success());
}

#[test]
fn a_watch_behind_a_trimmed_log_is_resynced_to_the_exact_state() {
    let mut random = seeded();
    let setup = [
        "--segment-bytes=65536",
        "--checkpoint-bytes=262144",
        "--retention-bytes=524288",
        "--retention-secs=1",
        "--dedup-window-secs=1",
        "--overlay-bytes=65536",
    ];
    let setup = setup.into_iter().fold(Setup::new(), Setup::flag);
    let server = setup.start();
    let config = patient(&server.url());
    let truth = Truth::default();
    let client = connect(&config);
    let writer = Writer::new(&client, &truth);
    writer.write(fork(&mut random), 50);
    let early = here(&config);
    set_cursor(&client, "early", early.position.clone());
    while first_seq(&server) <= 1 {
        writer.write(fork(&mut random), 200);
    }
    // What was committed is not in memory then, either.
    server.kill();
    let server = setup.start();

    let watches = Watches::new(&config, &truth);
    let _server = thread::scope(|scope| {
        let (watches, truth, config) = (&watches, &truth, &config);
        let _open = truth.open();
        let starts = [
            ("a trimmed revision", Start::AfterRevision(early.revision)),
            (
                "a trimmed position",
                Start::Position(early.position.clone()),
            ),
            ("a trimmed cursor", Start::Cursor("early".into())),
        ];
        for (name, start) in starts {
            for request in [of("", "", ""), of("left", "p/", "")] {
                let request = from(start.clone(), request);
                scope.spawn(move || watches.steadily(name, request, early.revision, 0));
            }
        }
        thread::scope(|scope| {
            for _ in 0..WRITERS {
                let chance = fork(&mut random);
                scope.spawn(move || Writer::new(&connect(config), truth).write(chance, 1000));
            }
            (0..2).fold(server, |server, _| {
                truth.wait_for(truth.count() + random.random_range(0..800));
                server.kill();
                setup.start()
            })
        })
    });
    for account in watches.into_accounts() {
        let found = account.verify(&truth).unwrap();
        assert!(found.resyncs > 0, "{}: {found:?}", account.name());
    }
}

#[test]
fn a_commit_larger_than_a_message_is_told_whole() {
    let setup = Setup::new();
    let server = setup.start();
    let config = patient(&server.url());
    let truth = Truth::default();
    let watches = Watches::new(&config, &truth);
    let client = connect(&config);
    let early = here(&config);
    let position = Start::Position(early.position.clone());
    let request = from(position, of("", "", ""));
    thread::scope(|scope| {
        let (watches, request) = (&watches, request.clone());
        let _open = truth.open();
        scope.spawn(move || watches.steadily("live", request, early.revision, 0));
        Writer::new(&client, &truth).write_large(12, 600_000);
        Writer::new(&client, &truth).write_large(2, 10);
    });
    // Nothing is in memory then.
    server.kill();
    let _server = setup.start();
    watches.steadily("from the log", request, early.revision, 0);
    let snapshot = WatchRequest {
        snapshot: true,
        ..of("", "", "")
    };
    watches.steadily("in a snapshot", snapshot, 0, 0);
    for account in watches.into_accounts() {
        account.verify(&truth).unwrap();
    }
}

/// One watch of each kind that stays open.
fn many_ways(early: &Place) -> [(&'static str, WatchRequest); 8] {
    let position = Start::Position(early.position.clone());
    let keys_only = WatchRequest {
        keys_only: true,
        ..of("", "", "")
    };
    let snapshot_of = |request| WatchRequest {
        snapshot: true,
        ..request
    };
    [
        ("everything", of("", "", "")),
        ("slow", of("", "", "")),
        (
            "a collection",
            from(Start::AfterRevision(early.revision), of("left", "", "")),
        ),
        ("a prefix", from(position, of("left", "p/", ""))),
        ("a key", of("right", "", "p/3")),
        ("keys only", keys_only),
        ("with a snapshot", snapshot_of(of("", "", ""))),
        (
            "a prefix with a snapshot",
            snapshot_of(of("right", "q/", "")),
        ),
    ]
}

/// Asserts that a watch from a place that another was told tells the rest.
fn goes_on_from_any_place(
    config: &Config,
    truth: &Truth,
    accounts: &[account::Account],
    random: &mut StdRng,
) {
    let everything = accounts
        .iter()
        .find(|account| account.name() == "everything");
    let places = everything.expect("it was watched").places();
    let watches = Watches::new(config, truth);
    for place in places.choose_multiple(random, 25) {
        let request = from(Start::Position(place.position.clone()), of("", "", ""));
        watches.steadily("resumed", request, place.revision, 0);
    }
    for account in watches.into_accounts() {
        assert_eq!(account.verify(truth).unwrap().resyncs, 0);
    }
}

/// Asserts that a watch tells that there is nothing to tell.
fn is_bookmarked_while_idle(config: &Config, truth: &Truth) {
    let client = connect(config);
    let id = client
        .watch(of("left", "", "p/1"))
        .expect("the client is open");
    let started = next(&client, id);
    assert!(
        matches!(started.kind, Some(Kind::Started(_))),
        "{started:?}"
    );
    for _ in 0..3 {
        let before = Instant::now();
        let told = next(&client, id);
        assert!(before.elapsed() < BOOKMARK_WITHIN, "{:?}", before.elapsed());
        assert!(matches!(told.kind, Some(Kind::Bookmark(_))), "{told:?}");
        assert!(
            told.header
                .is_some_and(|header| header.revision >= truth.newest())
        );
        assert!(!told.position.is_empty(), "one can go on from a bookmark");
    }
}

/// Sequence number that the log begins with.
fn first_seq(server: &Server) -> u64 {
    let status = server.admin().status().expect("the server answers");
    status.log.expect("a status has the log").first_seq
}

fn connect(config: &Config) -> Client {
    Client::connect(config.clone()).expect("the server comes back")
}

/// Chance, from the environment's seed if it has one.
fn seeded() -> StdRng {
    const SEED: &str = "STILLPOINT_TEST_SEED";
    let seed = env::var(SEED)
        .ok()
        .map(|text| text.parse().expect("a seed is a number"));
    let seed: u32 = seed.unwrap_or_else(rand::random);
    println!("{SEED}={seed}");
    StdRng::seed_from_u64(seed.into())
}

/// Chance for another thread.
fn fork(random: &mut StdRng) -> StdRng {
    StdRng::seed_from_u64(random.random())
}

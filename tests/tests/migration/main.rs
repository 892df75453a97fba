//! Kill -9 at any moment of a migration, with writers going on.
//!
//! Tellers move amounts from account to account, in transactions, and speak the old version all the time. Meanwhile an operator
//! applies a migration, and as soon as all accounts are rewritten takes it back, and so on. Again and again the server is
//! killed and started anew; then every account has to be there once, in the version that counts or readable as such, what was
//! acknowledged is done once, the sum is what it was, and the job has looked at each account once.
//!
//! `STILLPOINT_TEST_SEED` repeats a run, as far as the machine allows.

mod teller;

use std::{env, thread, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use stillpoint_client::{
    CallOptions, Client,
    v1::{
        ApplyMigrationsRequest, CollectionName, MigrationPhase, MigrationScript, MigrationStatus,
        Op, PublishScriptsRequest, RollBackMigrationRequest, ScanEntry, ScanOp, op::Kind,
        op_result::Kind as Done,
    },
};
use stillpoint_tests::{
    op,
    server::{Server, Setup},
};

use teller::Teller;

/// Times that the server is killed while the job is at work.
const KILLS: u32 = 100;

/// Most kills of all: now and then the job comes to its end first.
const KILLS_MAX: u32 = 3 * KILLS;

const ACCOUNTS: u64 = 400;

const TELLERS: u64 = 2;

/// What each account has in the beginning.
const AMOUNT: i64 = 100;

/// Records rewritten per second: so a job outlives some servers, and most kills hit one.
const RATE: u64 = 200;

/// Longest life of a server behind its start.
const LIFE_MAX: Duration = Duration::from_millis(200);

/// How long sessions are waited for: none has to go.
const WAIT_MS: u64 = 0;

/// The amount gets another name.
const SCRIPT: &str = r#"return { from = 0, to = 1,
    up = function(doc) doc.amount = doc.n; doc.n = nil end,
    down = function(doc) doc.n = doc.amount; doc.amount = nil end,
    samples = { { n = 5 } } }"#;

#[test]
fn kill_9_at_any_moment_of_a_migration_loses_nothing_and_does_nothing_twice() {
    let seed = match env::var("STILLPOINT_TEST_SEED") {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => rand::random::<u32>(),
    };
    println!("STILLPOINT_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed.into());
    let setup = Setup::new();
    let mut server = setup.start();
    open_accounts(&server);
    publish(&server);
    let mut tellers: Vec<_> = (0..TELLERS)
        .map(|n| Teller::connect(&server.url(), n, random.random()))
        .collect();
    let mut seen = Seen::default();
    let mut kills = 0;
    while seen.between < KILLS {
        assert!(kills < KILLS_MAX, "few jobs were hit: {seen:?}");
        kills += 1;
        seen.turn(&server);
        let life = random.random_range(Duration::ZERO..LIFE_MAX);
        let stop = teller::Stop::default();
        thread::scope(|scope| {
            for teller in &mut tellers {
                scope.spawn(|| teller.work(&stop));
            }
            // A random moment, not a wait for anything.
            thread::sleep(life);
            server.kill();
            stop.stop();
        });
        server = setup.start();
        for teller in &mut tellers {
            teller.settle();
        }
        seen.goes_on(&server);
        check(&server, &tellers, kills);
    }
    let transfers: u64 = tellers.iter().map(Teller::acknowledged).sum();
    println!("{transfers} transfers, {kills} kills, {seen:?}");
    assert!(seen.through > 2, "no job came to its end: {seen:?}");
    seen.follow(&server);
    assert!(server.terminate().success());
}

/// How the jobs went.
#[derive(Debug, Default)]
struct Seen {
    /// Kills at which the job was at work: it was before, and is still afterwards.
    between: u32,
    /// Jobs that came to their end.
    through: u32,
    /// Records that they rewrote.
    rewritten: u64,
}

impl Seen {
    /// Looks at the job, and begins the next if it is through.
    fn turn(&mut self, server: &Server) {
        let status = status(server);
        match status.phase() {
            MigrationPhase::Rewriting => {}
            MigrationPhase::Unspecified => apply(server),
            MigrationPhase::Rewritten => {
                self.end(server, &status);
                match status.version {
                    0 => apply(server),
                    _ => roll_back(server),
                }
            }
            phase => panic!("the job is {phase:?}: {status:?}"),
        }
    }

    /// The server was killed; a job that is not through now was at work then, since each turn ends with one that is.
    fn goes_on(&mut self, server: &Server) {
        let is_at_work = status(server).phase() == MigrationPhase::Rewriting;
        self.between += u32::from(is_at_work);
    }

    /// Waits for the end of the last one.
    fn follow(&mut self, server: &Server) {
        let mut admin = server.admin();
        let messages = admin.follow_migration(accounts()).expect("there is one");
        let statuses = messages.map(|message| message.expect("it goes on").status);
        let last = statuses.last().flatten().expect("it tells something");
        self.end(server, &last);
    }

    /// A job is through: it has looked at everybody once, and nobody is in another version.
    fn end(&mut self, server: &Server, status: &MigrationStatus) {
        self.through += 1;
        self.rewritten += status.rewritten;
        let all = ACCOUNTS + TELLERS;
        assert_eq!((status.seen, status.failed), (all, 0), "{status:?}");
        assert!(status.rewritten <= all, "{status:?}");
        for entry in scan(&server.client("world"), true) {
            let record = entry.record.expect("an entry has a record");
            assert_eq!(record.schema, status.version, "{:?}: {status:?}", entry.key);
        }
    }
}

fn open_accounts(server: &Server) {
    let client = server.client("world");
    let names: Vec<_> = (0..ACCOUNTS).map(teller::account).collect();
    for names in names.chunks(100) {
        let adds = names.iter().map(|name| op::add(name, AMOUNT)).collect();
        client
            .call(op::txn(adds), CallOptions::default())
            .expect("they are opened");
    }
}

fn publish(server: &Server) {
    let script = MigrationScript {
        namespace: "world".into(),
        collection: "test".into(),
        number: 1,
        name: "amount".into(),
        text: SCRIPT.into(),
        ..MigrationScript::default()
    };
    let request = PublishScriptsRequest {
        scripts: vec![script],
        ..PublishScriptsRequest::default()
    };
    server
        .admin()
        .publish_scripts(request)
        .expect("it is right");
}

fn apply(server: &Server) {
    let request = ApplyMigrationsRequest {
        rate: RATE,
        wait_ms: WAIT_MS,
        ..ApplyMigrationsRequest::default()
    };
    let mut admin = server.admin();
    let mut told = admin.apply_migrations(request).expect("it begins");
    assert!(told.all(|message| message.is_ok()), "it is applied");
}

fn roll_back(server: &Server) {
    let request = RollBackMigrationRequest {
        collection: Some(accounts()),
        rate: RATE,
        wait_ms: WAIT_MS,
        ..RollBackMigrationRequest::default()
    };
    let mut admin = server.admin();
    let mut told = admin.roll_back_migration(request).expect("it begins");
    assert!(told.all(|message| message.is_ok()), "it is rolled back");
}

fn status(server: &Server) -> MigrationStatus {
    let migrations = server.admin().migrations().expect("it answers").migrations;
    let [status] = &migrations[..] else {
        panic!("there is one: {migrations:?}");
    };
    status.clone()
}

fn accounts() -> CollectionName {
    CollectionName {
        namespace: "world".into(),
        collection: "test".into(),
    }
}

/// What has to hold when nothing is under way but the job.
fn check(server: &Server, tellers: &[Teller], kill: u32) {
    let client = server.client("world");
    let version = status(server).version;
    let entries = scan(&client, false);
    let names: Vec<_> = entries.iter().map(|entry| entry.key.clone()).collect();
    let accounts = (0..ACCOUNTS).map(teller::account);
    let mut expected: Vec<_> = accounts.chain(tellers.iter().map(Teller::name)).collect();
    expected.sort();
    assert_eq!(names, expected, "cycle {kill}: every record is there once");
    let mut sum = 0;
    for entry in &entries {
        let record = entry.record.as_ref().expect("an entry has a record");
        assert_eq!(
            (record.schema, &*record.unreadable),
            (version, ""),
            "cycle {kill}: {entry:?}"
        );
        let number = teller::number(record);
        match tellers.iter().find(|teller| teller.name() == entry.key) {
            Some(teller) => {
                assert_eq!(
                    number,
                    teller.acknowledged() as i64,
                    "cycle {kill}: {entry:?}"
                );
            }
            None => sum += number,
        }
    }
    assert_eq!(sum, ACCOUNTS as i64 * AMOUNT, "cycle {kill}: the sum");
    for entry in scan(&client, true) {
        let record = entry.record.expect("an entry has a record");
        assert!(record.schema <= 1, "cycle {kill}: {record:?}");
    }
}

/// All records.
fn scan(client: &Client, raw: bool) -> Vec<ScanEntry> {
    let scan = ScanOp {
        collection: "test".into(),
        raw,
        ..ScanOp::default()
    };
    let op = Op {
        kind: Some(Kind::Scan(scan)),
    };
    match client
        .call(op, CallOptions::default())
        .expect("it answers")
        .kind
    {
        Done::Scan(page) => {
            assert!(
                !page.more,
                "they fit into one page, so they are as of one revision"
            );
            page.entries
        }
        other => panic!("not the answer to a scan: {other:?}"),
    }
}

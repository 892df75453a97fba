//! Old programs and new ones under load, on the same records, while a migration is applied, rolled back and applied again.
//!
//! Clerks of three versions add to the same accounts in every way that there is: by patches, by transactions, by guarded puts of
//! what they have read, and as owners. Those of the newest version come when it counts and leave when the operator takes it
//! back; the others stay all the time. Each counts what was acknowledged. In the end every account has to have that, no more and
//! no less, and nobody has ever been shown a form that is not his: no read, scan, watch, refusal or claim.
//!
//! `STILLPOINT_TEST_SEED` repeats a run, as far as the machine allows.

mod clerk;
mod form;

use std::{
    env,
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

use stillpoint_client::{
    CallOptions,
    v1::{
        ApplyMigrationsRequest, CollectionName, MigrationPhase, MigrationStatus,
        PublishScriptsRequest, RollBackMigrationRequest, apply_migrations_response,
        roll_back_migration_response,
    },
};
use stillpoint_tests::{op, server::Server};

use clerk::Clerk;

/// All accounts, and those that the clerks know: the job meets them among the others.
const ACCOUNTS: u64 = 400;
const BUSY_EVERY: u64 = 40;

/// What each account has in the beginning.
const AMOUNT: i64 = 100;

/// Records rewritten per second: so that a job goes on for a while.
const RATE: u64 = 400;

/// Clerks of each version.
const CLERKS: u64 = 2;

/// Whether the operator waits for the end of the job before he turns around, each time that he does.
const TURNS: [bool; 3] = [false, true, false];

/// What each clerk does at least between two things that the operator does.
const DEALS_EACH: u64 = 10;

/// A test that waits longer for anything has failed.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn old_and_new_programs_lose_nothing_under_load_while_a_migration_goes_there_and_back() {
    let seed = match env::var("STILLPOINT_TEST_SEED") {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => rand::random::<u32>(),
    };
    println!("STILLPOINT_TEST_SEED={seed}");
    let server = Server::start();
    open_accounts(&server);
    publish(&server);
    apply(&server, 1);
    follow(&server, |_| false);

    let stop = Stop::default();
    let clerks = thread::scope(|scope| {
        // Whatever fails here, they stop; else the scope would wait for them for ever.
        let _stops = StopsInTheEnd(&stop);
        let mut number = seed;
        let mut hire = |version| {
            number = number.wrapping_add(1);
            Clerk::connect(&server.url(), version, number)
        };
        let mut done = Vec::new();
        let old: Vec<_> = (0..2 * CLERKS).map(|n| hire((n % 2) as u32)).collect();
        let counts: Vec<_> = old.iter().map(Clerk::count).collect();
        let working: Vec<_> = (old.into_iter())
            .map(|clerk| scope.spawn(|| clerk.work(&stop, &stop)))
            .collect();
        for waits in TURNS {
            apply(&server, form::NEWEST);
            let leave = Stop::default();
            let new: Vec<_> = (0..CLERKS).map(|_| hire(form::NEWEST)).collect();
            let mut all = counts.clone();
            all.extend(new.iter().map(Clerk::count));
            thread::scope(|scope| {
                let _stops = StopsInTheEnd(&leave);
                let new: Vec<_> = (new.into_iter())
                    .map(|clerk| scope.spawn(|| clerk.work_and_leave(&stop, &leave)))
                    .collect();
                turn(&server, waits, &all);
                roll_back(&server, &leave);
                done.extend(new.into_iter().map(join));
            });
            turn(&server, waits, &counts);
        }
        apply(&server, form::NEWEST);
        let status = follow(&server, |_| false);
        assert_eq!((status.seen, status.failed), (ACCOUNTS, 0), "{status:?}");
        stop.stop();
        done.extend(working.into_iter().map(join));
        done
    });
    check(&server, &clerks);
    assert!(server.terminate().success());
}

/// Ends the work of clerks.
#[derive(Debug, Default)]
struct Stop(AtomicBool);

impl Stop {
    fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_told(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Tells them to stop when it is dropped.
struct StopsInTheEnd<'a>(&'a Stop);

impl Drop for StopsInTheEnd<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn join(clerk: ScopedJoinHandle<'_, Clerk>) -> Clerk {
    clerk.join().expect("a clerk has seen nothing wrong")
}

/// The account's record.
fn account(n: u64) -> String {
    format!("account-{n:04}")
}

/// The accounts that the clerks know.
fn busy() -> impl Iterator<Item = u64> {
    (0..ACCOUNTS).step_by(BUSY_EVERY as usize)
}

fn open_accounts(server: &Server) {
    let client = server.client("world");
    let adds = (0..ACCOUNTS).map(|n| op::add(&account(n), AMOUNT));
    let adds: Vec<_> = adds.collect();
    for adds in adds.chunks(100) {
        client
            .call(op::txn(adds.to_vec()), CallOptions::default())
            .expect("they are opened");
    }
}

fn publish(server: &Server) {
    let request = PublishScriptsRequest {
        scripts: form::scripts(),
        ..PublishScriptsRequest::default()
    };
    server
        .admin()
        .publish_scripts(request)
        .expect("they are right");
}

fn apply(server: &Server, version: u32) {
    let request = ApplyMigrationsRequest {
        collections: vec![accounts()],
        to_version: version,
        rate: RATE,
        ..ApplyMigrationsRequest::default()
    };
    let mut admin = server.admin();
    let told = admin.apply_migrations(request).expect("it begins");
    let told: Vec<_> = told.map(|message| message.expect("it goes on")).collect();
    let last = told.last().and_then(|message| message.kind.as_ref());
    let is_applied = matches!(last, Some(apply_migrations_response::Kind::Applied(_)));
    assert!(
        is_applied && told.len() == 1,
        "nobody is waited for: {told:?}"
    );
}

/// Takes the newest version back, for which its clerks have to leave.
fn roll_back(server: &Server, leave: &Stop) {
    let request = RollBackMigrationRequest {
        collection: Some(accounts()),
        to_version: Some(1),
        rate: RATE,
        wait_ms: PATIENCE.as_millis() as u64,
        ..RollBackMigrationRequest::default()
    };
    let mut admin = server.admin();
    let told = admin.roll_back_migration(request).expect("it begins");
    let (mut were_named, mut is_applied) = (false, false);
    for message in told {
        match message.expect("it goes on").kind {
            Some(roll_back_migration_response::Kind::Waiting(waiting)) => {
                let are_new =
                    |name: &String| name.ends_with(&format!("(version {})", form::NEWEST));
                assert!(waiting.sessions.iter().all(are_new), "{waiting:?}");
                were_named |= waiting.sessions.len() as u64 == CLERKS;
                leave.stop();
            }
            Some(roll_back_migration_response::Kind::Applied(_)) => is_applied = true,
            None => {}
        }
    }
    assert!(
        were_named,
        "its clerks were there, and nobody waited for them"
    );
    assert!(is_applied);
}

/// Waits until the job has come to its middle, or to its end, and until every clerk has done something since.
fn turn(server: &Server, waits: bool, counts: &[clerk::Count]) {
    let wanted: Vec<_> = counts.iter().map(|had| had.get() + DEALS_EACH).collect();
    follow(server, |status| !waits && status.seen > ACCOUNTS / 4);
    let began = Instant::now();
    let have_done = || {
        counts
            .iter()
            .zip(&wanted)
            .all(|(has, want)| has.get() >= *want)
    };
    while !have_done() {
        assert!(began.elapsed() < PATIENCE, "a clerk does nothing any more");
        // They need the processor.
        thread::yield_now();
    }
}

/// Follows the job until this holds, or to its end; how it then was.
fn follow(server: &Server, is_enough: impl Fn(&MigrationStatus) -> bool) -> MigrationStatus {
    let mut admin = server.admin();
    let told = admin.follow_migration(accounts()).expect("there is one");
    let mut last = MigrationStatus::default();
    for message in told {
        last = message.expect("it goes on").status.expect("it is told");
        if is_enough(&last) {
            return last;
        }
    }
    assert_eq!(last.phase(), MigrationPhase::Rewritten, "{last:?}");
    last
}

fn accounts() -> CollectionName {
    CollectionName {
        namespace: "world".into(),
        collection: "test".into(),
    }
}

/// Every account has what it had and what was acknowledged.
fn check(server: &Server, clerks: &[Clerk]) {
    let client = server.client("world");
    let records = form::scan(&client, true);
    assert_eq!(records.len() as u64, ACCOUNTS);
    for (n, (name, record)) in (0..).zip(&records) {
        assert_eq!(*name, account(n), "every account is there once");
        let added: i64 = clerks.iter().map(|clerk| clerk.added(n)).sum();
        let number = form::number(form::NEWEST, record);
        assert_eq!(number, AMOUNT + added, "{name}: {clerks:?}");
    }
    for (what, count) in clerk::total(clerks) {
        println!("{what}: {count}");
        assert!(count > 0, "nobody was ever told of this: {what}");
    }
}

//! Kill -9 at any moment of a backup, a restore, a checkpoint, a swap.
//!
//! Each cycle begins something, kills the server or the command after a random time out of what it takes, or now and then at a
//! sign that it is at a certain point, so that chance does not decide whether each end is seen. It starts the server
//! again, and looks: what is listed as a backup is whole, a directory that was restored into is absent or opens, and a
//! clerk, who transfers gold all the time, finds every transfer that was acknowledged, once. Where the running store was to
//! be replaced, it is the old one or the new one.
//!
//! `STILLPOINT_TEST_SEED` repeats a run, as far as the machine allows.

use std::{
    env, fs,
    path::PathBuf,
    process::Child,
    thread,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use stillpoint_tests::server::{Server, Setup};

use crate::{
    bank::{self, Clerk},
    place::{Place, run, start, wait},
};

/// Cycles in which the server is killed while it takes a backup.
const SERVERS: u32 = 20;

/// Cycles in which the command is killed that asked for one.
const CLIENTS: u32 = 20;

/// Cycles in which a restore is killed.
const RESTORES: u32 = 20;

/// Cycles in which the server is killed while it takes checkpoints.
const CHECKPOINTS: u32 = 20;

/// Cycles in which the server is killed while its store is replaced by a restored one.
const SWAPS: u32 = 20;

/// One cycle of so many is killed at a sign.
const AIMED: u32 = 4;

/// What makes a backup pause behind its first file, at which it is killed.
const SLOWLY: &[&str] = &["--rate", "8MiB"];

/// So many, 50 KB each, that a backup has some portions and takes its time.
const BOOKS: u64 = 200;

/// Bytes written with each transfer while checkpoints are taken, so that they are taken all the time.
const PAGE_BYTES: usize = 16_000;

/// Longest wait for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn kill_9_at_any_moment_leaves_backups_whole_and_the_store_as_it_was() {
    let seed = match env::var("STILLPOINT_TEST_SEED") {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => rand::random::<u32>(),
    };
    println!("STILLPOINT_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed.into());
    backups_and_restores(&mut random);
    checkpoints(&mut random);
    swaps(&mut random);
}

fn backups_and_restores(random: &mut StdRng) {
    let place = Place::new();
    let setup = place.reached_by(&Setup::new());
    let mut server = setup.start();
    bank::open(&server, BOOKS, random);
    let clerk = Clerk::begin(&server, 0, random.random());
    let backup_takes = time_of(|| drop(place.take(&server, &[])));
    let mut seen = Seen::of(&place);
    let begin = |server: &Server, cycle: u32, random: &mut StdRng| {
        let is_aimed = cycle.is_multiple_of(AIMED);
        let flags = match is_aimed {
            true => SLOWLY,
            false => flags(random),
        };
        let begun = begun(&place);
        let mut asking = start(&mut place.create(server, flags));
        match is_aimed {
            true => until(&mut asking, || self::begun(&place) > begun),
            false => thread::sleep(random.random_range(Duration::ZERO..backup_takes)),
        }
        (asking, format!("{cycle} {flags:?}"))
    };
    for cycle in 0..SERVERS {
        let (asking, what) = begin(&server, cycle, random);
        server.kill();
        let is_told = wait(asking).code == Some(0);
        server = setup.start();
        clerk.see_that_all_is_there(&server);
        let is_new = seen.look(&place, is_told, 0, &format!("server {what}"));
        seen.given_up_by_servers += u32::from(!is_new);
    }
    for cycle in 0..CLIENTS {
        let (mut asking, what) = begin(&server, cycle, random);
        asking.kill().unwrap();
        let is_told = wait(asking).code == Some(0);
        // The next one is let in when the server has seen that this one's caller is gone.
        take_when_it_is_free(&place, &server);
        let is_new = seen.look(&place, is_told, 1, &format!("client {what}"));
        seen.given_up_by_clients += u32::from(!is_new);
    }
    clerk.see_that_all_is_there(&server);
    println!(
        "backup {backup_takes:?}, {} are there, {} and {} were given up",
        seen.ids.len(),
        seen.given_up_by_servers,
        seen.given_up_by_clients
    );
    assert!(
        seen.given_up_by_servers > 0,
        "no server was hit in a backup: {seen:?}"
    );
    assert!(
        seen.given_up_by_clients > 0,
        "no backup was given up when its caller was gone: {seen:?}"
    );
    restores(&place, clerk.acknowledged(), random);
}

/// Half of the backups are incremental ones.
fn flags(random: &mut StdRng) -> &'static [&'static str] {
    match random.random() {
        true => &["--incremental"],
        false => &[],
    }
}

fn take_when_it_is_free(place: &Place, server: &Server) {
    let begun = Instant::now();
    loop {
        let ran = run(&mut place.create(server, &["--incremental"]));
        if ran.code == Some(0) {
            return;
        }
        let is_waiting = ran.stderr.contains("one at a time") && begun.elapsed() < PATIENCE;
        assert!(is_waiting, "{}", ran.stderr);
    }
}

/// How many backups were begun, as far as a file.
fn begun(place: &Place) -> usize {
    fs::read_dir(place.beside("backups/data")).map_or(0, Iterator::count)
}

/// Returns at a sign, or when the command has ended.
fn until(command: &mut Child, sign: impl Fn() -> bool) {
    while !sign() && command.try_wait().unwrap().is_none() {
        thread::yield_now();
    }
}

/// What became of the backups.
#[derive(Debug)]
struct Seen {
    /// Backups that are there.
    ids: Vec<String>,
    /// Those that are not, since the server was killed.
    given_up_by_servers: u32,
    /// The same of the command that asked for them.
    given_up_by_clients: u32,
}

impl Seen {
    fn of(place: &Place) -> Seen {
        Seen {
            ids: place.ids(),
            given_up_by_servers: 0,
            given_up_by_clients: 0,
        }
    }

    /// Whatever is listed can be restored. A backup that its caller was told of is there. Gives whether it is, when so many were
    /// taken since.
    fn look(&mut self, place: &Place, is_told: bool, since: usize, what: &str) -> bool {
        // It fails where a manifest is damaged.
        let ids = place.ids();
        let new = ids.len().saturating_sub(self.ids.len());
        assert!(
            ids.starts_with(&self.ids),
            "{what}: {:?} became {ids:?}",
            self.ids
        );
        let is_new = new > since;
        assert!(!is_told || is_new, "{what}: it was taken and is not there");
        self.ids = ids;
        // The files of the newest and of all that it continues.
        place.ok(&["backup", "verify"]);
        is_new
    }
}

fn restores(place: &Place, transfers: i64, random: &mut StdRng) {
    let into = place.free_directory();
    let path = into.directory().to_str().unwrap().to_owned();
    let restore = ["restore", "--into", &path];
    let restore_takes = time_of(|| drop(place.ok(&restore)));
    fs::remove_dir_all(&path).unwrap();
    let (mut whole, mut absent) = (0, 0);
    for cycle in 0..RESTORES {
        let mut restoring = start(&mut place.command(&restore));
        match cycle.is_multiple_of(AIMED) {
            // As soon as it is there, it is whole.
            true => until(&mut restoring, || into.directory().exists()),
            false => thread::sleep(random.random_range(Duration::ZERO..restore_takes)),
        }
        restoring.kill().unwrap();
        let told = wait(restoring);
        if !into.directory().exists() {
            assert_ne!(told.code, Some(0), "cycle {cycle}");
            absent += 1;
            continue;
        }
        whole += 1;
        see_that_it_opens(&into, transfers);
    }
    println!("restore {restore_takes:?}, {whole} were complete, {absent} were not");
    assert!(absent > 0, "no restore was hit");
    assert!(whole > 0, "no restore came to its end");
    // What is left of those that were killed is in nobody's way.
    place.restore(into.directory(), &[]);
    see_that_it_opens(&into, transfers);
    let left = fs::read_dir(place.beside(""))
        .unwrap()
        .map(|item| item.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["backups"]);
}

/// Starts a server on what was restored, and removes it.
fn see_that_it_opens(into: &Setup, transfers_max: i64) {
    let server = into.start();
    let transfers = bank::audit(&server);
    assert!((1..=transfers_max).contains(&transfers), "{transfers}");
    assert!(server.terminate().success());
    fs::remove_dir_all(into.directory()).unwrap();
}

/// A checkpoint is what a view that was lost is rebuilt from, so now and then it is.
fn checkpoints(random: &mut StdRng) {
    let setup = [
        "--segment-bytes=65536",
        "--checkpoint-bytes=131072",
        "--retention-bytes=262144",
        "--retention-secs=1",
        "--dedup-window-secs=10",
    ]
    .into_iter()
    .fold(Setup::new(), Setup::flag);
    let mut server = setup.start();
    bank::open(&server, 10, random);
    let clerk = Clerk::begin(&server, PAGE_BYTES, random.random());
    let (mut taken, mut rebuilt, mut newest) = (0, 0, 0);
    for cycle in 0..CHECKPOINTS {
        // It takes several in this time.
        thread::sleep(Duration::from_micros(random.random_range(0..250_000)));
        let seq = server.admin().status().unwrap().log.unwrap().checkpoint_seq;
        taken += u32::from(seq > newest);
        newest = seq;
        server.kill();
        let is_lost = cycle % 3 == 2;
        if is_lost {
            fs::remove_dir_all(setup.directory().join("view")).unwrap();
            rebuilt += 1;
        }
        server = setup.start();
        if is_lost && newest > 0 {
            let log = server.log();
            assert!(log.contains("rebuilding the view"), "{log}");
        }
        clerk.see_that_all_is_there(&server);
    }
    println!("checkpoints in {taken} of {CHECKPOINTS} cycles, {rebuilt} views rebuilt");
    assert!(taken > CHECKPOINTS / 4, "hardly any checkpoint was taken");
}

/// The running store is to be replaced by the one of a backup that has fewer transfers.
fn swaps(random: &mut StdRng) {
    let place = Place::new();
    let setup = place.reached_by(&place.free_directory());
    let mut server = setup.start();
    bank::open(&server, BOOKS / 4, random);
    bank::transfer_some(&server, 10, random);
    place.take(&server, &[]);
    let backed_up = bank::audit(&server);
    let store = server.admin().status().unwrap().header.unwrap().store_id;
    let store: String = store[..4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let restore = |server: &Server| {
        let admin = format!("unix:{}", server.directory().join("admin.sock").display());
        let live = ["restore", "--live", "--confirm", &store, "--admin", &admin];
        start(&mut place.command(&live))
    };
    let kept = || {
        let items = fs::read_dir(place.beside(""))
            .unwrap()
            .map(|item| item.unwrap().path());
        let is_kept = |path: &PathBuf| path.to_str().unwrap().contains(".before-");
        items.filter(is_kept).collect::<Vec<_>>()
    };
    let name = setup.directory().file_name().unwrap().to_str().unwrap();
    let decision = place.beside(&format!(".{name}.swap"));
    bank::transfer_some(&server, 10, random);
    let swap_takes = time_of(|| drop(wait(restore(&server)).ok()));
    assert_eq!(kept().len(), 1);
    let (mut old, mut new) = (0, 0);
    for cycle in 0..SWAPS {
        for path in kept() {
            fs::remove_dir_all(path).unwrap();
        }
        bank::transfer_some(&server, 10, random);
        let (before, began_as) = (bank::audit(&server), incarnation(&server));
        assert!(before > backed_up);
        let mut restoring = restore(&server);
        let is_aimed = cycle.is_multiple_of(AIMED);
        match is_aimed {
            // From here on it happens, whoever dies.
            true => until(&mut restoring, || decision.exists() || !kept().is_empty()),
            false => thread::sleep(random.random_range(Duration::ZERO..swap_takes)),
        }
        server.kill();
        server = setup.start();
        // It may wait for the new one.
        let is_told = wait(restoring).code == Some(0);
        let found = bank::audit(&server);
        let goes_on_as = incarnation(&server);
        if goes_on_as == began_as {
            assert!(!is_aimed, "cycle {cycle}: it was decided");
            assert_eq!(found, before, "cycle {cycle}: the old one");
            assert!(!is_told && kept().is_empty(), "cycle {cycle}");
            old += 1;
        } else {
            assert_eq!(found, backed_up, "cycle {cycle}: the new one");
            assert_eq!(goes_on_as, began_as + 1, "cycle {cycle}");
            assert_eq!(kept().len(), 1, "cycle {cycle}");
            new += 1;
        }
    }
    println!("swap {swap_takes:?}, {old} times the old one, {new} times the new one");
    assert!(
        old > 0 && new > 0,
        "{old} times the old one, {new} times the new one"
    );
}

fn incarnation(server: &Server) -> u64 {
    server.admin().status().unwrap().header.unwrap().incarnation
}

fn time_of(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

//! Kill -9 at any moment of a backup, a restore, a checkpoint, a swap.
//!
//! Each cycle begins something, kills the server or the command after a random time out of what it takes, starts the server
//! again, and looks: what is listed as a backup is whole, a directory that was restored into is absent or opens, and a
//! clerk, who transfers gold all the time, finds every transfer that was acknowledged, once. Where the running store was to
//! be replaced, it is the old one or the new one.
//!
//! `STILLPOINT_TEST_SEED` repeats a run, as far as the machine allows.

use std::{
    env, fs,
    path::PathBuf,
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
    let mut seen = Seen::default();
    for cycle in 0..SERVERS {
        let flags = flags(random);
        let asking = start(&mut place.create(&server, flags));
        thread::sleep(random.random_range(Duration::ZERO..backup_takes));
        server.kill();
        let told = wait(asking);
        server = setup.start();
        clerk.see_that_all_is_there(&server);
        seen.look(
            &place,
            told.code == Some(0),
            &format!("server {cycle} {flags:?}"),
        );
    }
    for cycle in 0..CLIENTS {
        let flags = flags(random);
        let mut asking = start(&mut place.create(&server, flags));
        thread::sleep(random.random_range(Duration::ZERO..backup_takes));
        asking.kill().unwrap();
        let told = wait(asking);
        // The next one is let in when the server has seen that this one's caller is gone.
        take_when_it_is_free(&place, &server);
        seen.look(
            &place,
            told.code == Some(0),
            &format!("client {cycle} {flags:?}"),
        );
    }
    clerk.see_that_all_is_there(&server);
    println!(
        "backup {backup_takes:?}, {} are there, {} were given up",
        seen.ids.len(),
        seen.given_up
    );
    assert!(seen.given_up > 0, "no backup was hit: {seen:?}");
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

/// What became of the backups.
#[derive(Debug, Default)]
struct Seen {
    /// Backups that are there.
    ids: Vec<String>,
    /// Those that were asked for and are not.
    given_up: u32,
}

impl Seen {
    /// Whatever is listed can be restored. A backup that its caller was told of is there.
    fn look(&mut self, place: &Place, is_told: bool, what: &str) {
        // It fails where a manifest is damaged.
        let ids = place.ids();
        let new = ids.len().saturating_sub(self.ids.len());
        assert!(
            ids.starts_with(&self.ids),
            "{what}: {:?} became {ids:?}",
            self.ids
        );
        assert!(!is_told || new > 0, "{what}: it was taken and is not there");
        self.given_up += u32::from(new == 0);
        self.ids = ids;
        // The files of the newest and of all that it continues.
        place.ok(&["backup", "verify"]);
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
        thread::sleep(random.random_range(Duration::ZERO..restore_takes));
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
        if cycle % 3 == 2 {
            fs::remove_dir_all(setup.directory().join("view")).unwrap();
            rebuilt += 1;
        }
        server = setup.start();
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
        let restoring = restore(&server);
        thread::sleep(random.random_range(Duration::ZERO..swap_takes));
        server.kill();
        server = setup.start();
        // It may wait for the new one.
        let is_told = wait(restoring).code == Some(0);
        let found = bank::audit(&server);
        let goes_on_as = incarnation(&server);
        if goes_on_as == began_as {
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
    assert!(old > 0, "no swap was hit");
}

fn incarnation(server: &Server) -> u64 {
    server.admin().status().unwrap().header.unwrap().incarnation
}

fn time_of(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

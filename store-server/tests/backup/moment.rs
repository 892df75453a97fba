//! Chains of backups of a random history, restored to a commit, a revision, a time, a label, against a model.

use std::collections::BTreeMap;

use bytes::Bytes;
use stillpoint_proto::v1::Record;
use stillpoint_store_server::{
    backup::{BackupError, CreateOptions, To, Verify, create, restore_above, verify},
    store::server_time_ms,
};

use crate::{
    common::{Content, NAMESPACE, add, delete, put, txn},
    world::{World, content_of, incremental, options, silent},
};

/// The content after each commit; the first is that of the empty store.
type Model = Vec<BTreeMap<Bytes, Record>>;

fn step(random: &mut u64) -> u64 {
    *random = random
        .wrapping_mul(6364136223846793005)
        .wrapping_add(1442695040888963407);
    *random >> 33
}

/// Commits `count` random transactions.
fn live(world: &World, model: &mut Model, random: &mut u64, count: u64) {
    for _ in 0..count {
        let ops = (0..=step(random) % 3).map(|nth| {
            let name = format!("key{}", nth * 10 + step(random) % 10);
            match step(random) % 4 {
                0 => delete(&name),
                1 => add(&name, 1),
                n => put(
                    &name,
                    &format!(r#"{{"n": {n}, "text": "{}"}}"#, step(random)),
                ),
            }
        });
        let before = model.len();
        let ops: Vec<_> = ops.collect();
        let _ = world.store.execute(NAMESPACE, txn(ops));
        let content = Content::of(&world.store);
        // A transaction that deletes what is not there is no commit.
        if content.revision as usize == before {
            model.push(content.records.into_iter().collect());
        }
    }
}

/// Rounds of commits, each ended by a backup.
const ROUNDS: u64 = 12;

/// Moments that are gone back to, by a commit, a revision, a time, a label.
const MOMENTS: u64 = 136;

#[tokio::test(flavor = "multi_thread")]
async fn any_of_100_random_revisions_comes_back_as_it_was() {
    let world = World::new();
    let (mut model, mut random) = (vec![BTreeMap::new()], 7);
    let mut first = 0;
    // Each with its commit.
    let (mut times, mut labels) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        live(&world, &mut model, &mut random, 25);
        times.push((a_moment_later(), model.len() as u64 - 1));
        live(&world, &mut model, &mut random, 10);
        let label = format!("round-{round}");
        mark(&world, &mut model, &label);
        labels.push((label, model.len() as u64 - 1));
        live(&world, &mut model, &mut random, 5);
        let last_seq = match round {
            0 => world.full().await.last_seq,
            // Commits between an incremental backup and the next full one are in none.
            5 | 9 => {
                world.incremental().await;
                world.full().await.last_seq
            }
            _ => world.incremental().await.last_seq,
        };
        assert_eq!(last_seq as usize, model.len() - 1);
        if round == 0 {
            first = last_seq;
        }
    }
    // In the first round there was no backup yet.
    times.remove(0);
    labels.remove(0);
    let last = model.len() as u64 - 1;
    let mut at_random = 0;
    for n in 0..MOMENTS {
        let random_seq = match n {
            0 => first,
            1 => last,
            _ => first + step(&mut random) % (last - first),
        };
        at_random += u64::from(n > 1 && n % 8 != 2 && n % 8 != 5);
        let (to, seq) = match n % 8 {
            2 => {
                let (time_ms, seq) = times[step(&mut random) as usize % times.len()];
                (To::Time(time_ms), seq)
            }
            5 => {
                let (label, seq) = &labels[step(&mut random) as usize % labels.len()];
                (To::Label(label.clone()), *seq)
            }
            _ if n % 2 == 0 => (To::Seq(random_seq), random_seq),
            _ => {
                let revision = To::Revision {
                    namespace: NAMESPACE.into(),
                    revision: random_seq,
                };
                (revision, random_seq)
            }
        };
        let report = world.restore(to.clone(), "restored").await.unwrap();
        assert_eq!(report.seq, seq, "{to:?}");
        let content = content_of(&report);
        std::fs::remove_dir_all(&report.into).unwrap();
        let records: BTreeMap<_, _> = content.records.into_iter().collect();
        assert!(records == model[seq as usize], "{to:?}: not what was there");
    }
    assert_eq!(at_random, 100);
    let before = world.restore(To::Seq(first - 1), "before").await;
    let before = before.unwrap_err();
    assert!(matches!(before, BackupError::NotCovered { .. }), "{before}");
    let behind = world.restore(To::Seq(last + 1), "behind").await;
    let behind = behind.unwrap_err();
    assert!(behind.to_string().contains("commit"), "{behind}");
    assert!(!world.path("before").exists() && !world.path("behind").exists());
}

/// A time that all commits before it are not later than, and all behind it are.
fn a_moment_later() -> u64 {
    // The server's clock has milliseconds.
    let at = server_time_ms();
    while server_time_ms() <= at + 1 {
        std::thread::yield_now();
    }
    at
}

/// Labels this moment, which is a commit that changes no record of the tests.
fn mark(world: &World, model: &mut Model, label: &str) {
    let (told, committed) = std::sync::mpsc::channel();
    let reply = move |committed| told.send(committed).unwrap();
    (world.store.mark(NAMESPACE, label, "", "ann", reply)).unwrap();
    let committed = committed.recv().unwrap().unwrap();
    model.push(model[model.len() - 1].clone());
    assert_eq!(committed.seq as usize, model.len() - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_between_an_incremental_backup_and_the_next_full_one_are_in_none() {
    let world = World::new();
    let (mut model, mut random) = (vec![BTreeMap::new()], 13);
    live(&world, &mut model, &mut random, 10);
    world.full().await;
    live(&world, &mut model, &mut random, 10);
    let covered = world.incremental().await.last_seq;
    live(&world, &mut model, &mut random, 10);
    let full = world.full().await;
    for seq in covered + 1..full.last_seq {
        let error = world.restore(To::Seq(seq), "between").await.unwrap_err();
        assert!(matches!(error, BackupError::NotCovered { .. }), "{error}");
    }
    for seq in [covered, full.last_seq] {
        let report = world.restore(To::Seq(seq), &format!("at{seq}")).await;
        assert_eq!(report.unwrap().seq, seq);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_is_the_state_before_the_first_commit_after_it() {
    let world = World::new();
    let (mut model, mut random) = (vec![BTreeMap::new()], 11);
    live(&world, &mut model, &mut random, 5);
    world.full().await;
    live(&world, &mut model, &mut random, 5);
    let between = world.incremental().await;
    // The server's clock has milliseconds; what comes next is later.
    let at = between.as_of_ms;
    while server_time_ms() <= at + 1 {
        std::thread::yield_now();
    }
    live(&world, &mut model, &mut random, 5);
    let end = world.incremental().await;
    let report = world.restore(To::Time(at), "then").await.unwrap();
    assert_eq!(report.seq, between.last_seq);
    content_of(&report);
    let report = world.restore(To::Time(end.as_of_ms), "now").await.unwrap();
    assert_eq!(report.seq, end.last_seq);
    let error = world
        .restore(To::Time(end.as_of_ms + 3_600_000), "later")
        .await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("the state as of 2"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_in_which_nothing_was_committed_is_covered_across_a_full_backup() {
    let world = World::new();
    world.full().await;
    world.execute(add("key", 1));
    let before = world.incremental().await;
    let idle = a_moment_later();
    let full = world.full().await;
    let idle_still = a_moment_later();
    world.execute(add("key", 1));
    let last = world.incremental().await;
    assert_eq!(
        (full.last_seq, last.last_seq),
        (before.last_seq, before.last_seq + 1)
    );
    for (time_ms, into) in [(idle, "idle"), (idle_still, "idle-still")] {
        let report = world.restore(To::Time(time_ms), into).await.unwrap();
        assert_eq!(report.seq, before.last_seq, "{into}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_restore_comes_to_the_hash_in_the_manifest() {
    let world = World::new();
    let (mut model, mut random) = (vec![BTreeMap::new()], 3);
    live(&world, &mut model, &mut random, 10);
    world.full().await;
    live(&world, &mut model, &mut random, 10);
    let manifest = world.incremental().await;
    let checked = verify(&world.target, "latest", &Verify::Checksums, &silent)
        .await
        .unwrap();
    assert_eq!((checked.backups.len(), checked.state_hash), (2, None));
    let scratch = world.path("scratch");
    let how = Verify::TrialRestore {
        scratch: scratch.clone(),
        reserve_bytes: 0,
    };
    let tried = verify(&world.target, &manifest.id, &how, &silent)
        .await
        .unwrap();
    assert_eq!(tried.state_hash, manifest.state_hash);
    assert!(tried.state_hash.is_some());
    assert_eq!(scratch.read_dir().map_or(0, Iterator::count), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_restored_begins_a_history_of_its_own() {
    let world = World::new();
    let (mut model, mut random) = (vec![BTreeMap::new()], 5);
    live(&world, &mut model, &mut random, 10);
    let begun_us = server_time_ms() * 1000;
    let manifest = world.full().await;
    let report = world.restore(To::Latest, "restored").await.unwrap();
    // Another restore may have made the incarnation behind the one that is known, and in the same second.
    assert!(report.incarnation >= begun_us, "{}", report.incarnation);
    let again = world.restore(To::Latest, "again").await.unwrap();
    assert!(again.incarnation > report.incarnation);
    let above = options(To::Latest, world.path("above"));
    let above = restore_above(&world.target, &above, 7, &silent).await;
    assert_eq!(above.unwrap().incarnation, 8);
    let above = options(To::Latest, world.path("next"));
    let above = restore_above(&world.target, &above, 0, &silent).await;
    assert_eq!(above.unwrap().incarnation, manifest.incarnation + 1);
    let store = stillpoint_store_server::store::Store::open(crate::common::config(
        &report.into,
        stillpoint_store_server::config::EngineKind::Sled,
    ))
    .unwrap();
    let options = incremental();
    let refused = create(&store, &world.target, &options, &silent);
    let error = refused.await.unwrap_err();
    assert!(matches!(error, BackupError::NoParent { .. }), "{error}");
    // Once it has a backup there, those of the store that it comes from would be hidden behind that one.
    let newest = create(&store, &world.target, &CreateOptions::default(), &silent).await;
    let newest = newest.unwrap();
    store.close();
    for options in [incremental(), CreateOptions::default()] {
        let error = world.create(&options).await.unwrap_err();
        assert!(
            matches!(error, BackupError::LaterIncarnation { found, store: 1, .. } if found == newest.incarnation),
            "{error}"
        );
        assert!(error.to_string().contains("a target of its own"), "{error}");
    }
}

//! Chains of backups of a random history, restored to a commit, a revision, a time, a label, against a model.

use std::collections::BTreeMap;

use bytes::Bytes;
use stillpoint_proto::v1::Record;
use stillpoint_store_server::backup::{BackupError, Kind, To, Verify, create, list, verify};

use crate::{
    common::{Content, NAMESPACE, add, delete, put, txn},
    world::{World, content_of, incremental, silent},
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

#[tokio::test(flavor = "multi_thread")]
async fn every_commit_since_the_first_full_backup_can_be_gone_back_to() {
    let world = World::new();
    let (mut model, mut random) = (vec![BTreeMap::new()], 7);
    let mut first = 0;
    for round in 0..8 {
        live(&world, &mut model, &mut random, 25);
        let manifest = match round {
            0 | 4 => world.full().await,
            _ => world.incremental().await,
        };
        assert_eq!(manifest.last_seq as usize, model.len() - 1);
        if round == 0 {
            first = manifest.last_seq;
        }
        if round == 3 {
            // What the second full backup has, no incremental one needs to have.
            world.incremental().await;
        }
    }
    let last = model.len() as u64 - 1;
    for n in 0..25 {
        let seq = match n {
            0 => first,
            1 => last,
            _ => first + step(&mut random) % (last - first),
        };
        let what = if n % 2 == 0 {
            To::Seq(seq)
        } else {
            To::Revision {
                namespace: NAMESPACE.into(),
                revision: seq,
            }
        };
        match world.restore(what, &format!("restored{n}")).await {
            Ok(report) => {
                assert_eq!(report.seq, seq);
                let content = content_of(&report);
                let records: BTreeMap<_, _> = content.records.into_iter().collect();
                assert_eq!(records, model[seq as usize], "commit {seq}");
            }
            // Commits between the last incremental backup and the next full one are in none.
            Err(error) => {
                let listing = list(&world.target).await.unwrap();
                let second = listing
                    .backups
                    .iter()
                    .rfind(|m| m.kind == Kind::Full)
                    .unwrap();
                let before = listing
                    .backups
                    .iter()
                    .filter(|m| m.last_seq < second.last_seq);
                let covered = before.map(|m| m.last_seq).max().unwrap();
                assert!(
                    (covered + 1..second.last_seq).contains(&seq),
                    "{seq}: {error}"
                );
                assert!(matches!(error, BackupError::NotCovered { .. }), "{error}");
            }
        }
    }
    let before = world
        .restore(To::Seq(first - 1), "before")
        .await
        .unwrap_err();
    assert!(matches!(before, BackupError::NotCovered { .. }), "{before}");
    let behind = world
        .restore(To::Seq(last + 1), "behind")
        .await
        .unwrap_err();
    assert!(behind.to_string().contains("commit"), "{behind}");
    assert!(!world.path("before").exists() && !world.path("behind").exists());
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
    while stillpoint_store_server::store::server_time_ms() <= at + 1 {
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
    };
    let tried = verify(&world.target, &manifest.id, &how, &silent)
        .await
        .unwrap();
    assert_eq!(tried.state_hash, manifest.state_hash);
    assert!(tried.state_hash.is_some());
    assert_eq!(scratch.read_dir().unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_restored_begins_a_history_of_its_own() {
    let world = World::new();
    let (mut model, mut random) = (vec![BTreeMap::new()], 5);
    live(&world, &mut model, &mut random, 10);
    let manifest = world.full().await;
    let report = world.restore(To::Latest, "restored").await.unwrap();
    assert_eq!(report.incarnation, manifest.incarnation + 1);
    let store = stillpoint_store_server::store::Store::open(crate::common::config(
        &report.into,
        stillpoint_store_server::config::EngineKind::Sled,
    ))
    .unwrap();
    let options = incremental();
    let refused = create(&store, &world.target, &options, &silent);
    let error = refused.await.unwrap_err();
    assert!(matches!(error, BackupError::NoParent { .. }), "{error}");
    store.close();
}

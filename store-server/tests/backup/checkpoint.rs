//! The checkpoint in a data directory is a full backup.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use stillpoint_store_server::backup::{BackupError, Kind, Target, To, describe, restore};
use tokio::runtime::Handle;

use crate::{
    common::{NAMESPACE, add, count_of, put, txn},
    world::{World, content_of, options, silent},
};

const ACCOUNTS: i64 = 50;

/// How often one is restored.
const RESTORES: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_was_taken_while_gold_was_moved_can_be_restored_as_a_backup() {
    let world = World::with(|config| config.log.checkpoint_bytes = 1);
    let all = (0..ACCOUNTS).map(|n| put(&format!("account{n}"), r#"{"n": 100}"#));
    world.execute(txn(all.collect()));
    let done = AtomicBool::new(false);
    let mut seen = Vec::new();
    thread::scope(|scope| {
        let (store, done) = (&world.store, &done);
        scope.spawn(move || {
            for n in (0..).take_while(|_| !done.load(Ordering::Relaxed)) {
                let (from, to) = (n * 7 % ACCOUNTS, n * 13 % ACCOUNTS);
                let moved = vec![
                    add(&format!("account{from}"), -1),
                    add(&format!("account{to}"), 1),
                ];
                store.execute(NAMESPACE, txn(moved)).unwrap();
            }
        });
        tokio::task::block_in_place(|| {
            Handle::current().block_on(async {
                while seen.len() < RESTORES {
                    seen.extend(restore_newest(&world, seen.len()).await);
                }
            });
        });
        done.store(true, Ordering::Relaxed);
    });
    assert!(
        seen.iter().any(|moved_meanwhile| *moved_meanwhile > 0),
        "nothing was moved while they were taken"
    );
}

/// Restores the newest checkpoint, and sees that it has all of the gold; gives the commits that were made while it was taken.
/// None: there is none yet, or the next has taken its place meanwhile.
async fn restore_newest(world: &World, n: usize) -> Option<u64> {
    let checkpoint = world.path("store").join("checkpoint");
    let target = Target::open(checkpoint.to_str().unwrap()).unwrap();
    let options = options(To::Latest, world.path(&format!("restored{n}")));
    let restored = async {
        let manifest = describe(&target, "latest").await?;
        let report = restore(&target, &options, &silent).await?;
        Ok((manifest, report))
    };
    let (manifest, report) = match restored.await {
        Err(BackupError::NoBackup { .. } | BackupError::Missing { .. }) => return None,
        restored => restored.unwrap(),
    };
    assert_eq!(manifest.kind, Kind::Full);
    let content = content_of(&report);
    let gold: i64 = content.records.iter().map(|(_, r)| count_of(Some(r))).sum();
    assert_eq!(gold, ACCOUNTS * 100);
    Some(manifest.last_seq - manifest.base_seq)
}

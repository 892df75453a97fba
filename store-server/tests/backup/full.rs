//! Full backups of a store that goes on working.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use stillpoint_store_server::{
    backup::{CreateOptions, Kind, Phase, Progress, To, create},
    store::Store,
};
use tokio::runtime::Handle;

use crate::{
    common::{Content, NAMESPACE, add, count_of, put, txn},
    world::{World, content_of, options, silent},
};

const ACCOUNTS: u64 = 200;

const GOLD_EACH: i64 = 100;

const BACKUPS: usize = 12;

fn account(n: u64) -> String {
    format!("account{:04}", n % ACCOUNTS)
}

/// Moves gold about until it is told to stop; now and then an account is closed and opened anew in one transaction.
fn transfer(store: &Store, seed: u64, done: &AtomicBool) {
    let mut n = seed;
    while !done.load(Ordering::Relaxed) {
        n += 1;
        let moved = vec![
            add(&account(n * 7), -3),
            add(&account(n * 13 + 5), 1),
            add(&account(n * 29 + 50), 2),
        ];
        store.execute(NAMESPACE, txn(moved)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_taken_while_gold_is_moved_have_all_of_it() {
    let world = World::new();
    let all = (0..ACCOUNTS).map(|n| put(&account(n), &format!(r#"{{"n": {GOLD_EACH}}}"#)));
    world.execute(txn(all.collect()));
    let done = AtomicBool::new(false);
    let manifests = thread::scope(|scope| {
        for seed in [0, 1_000_000] {
            let (store, done) = (&world.store, &done);
            scope.spawn(move || transfer(store, seed, done));
        }
        let _done = SetOnDrop(&done);
        tokio::task::block_in_place(|| {
            Handle::current().block_on(async {
                let mut manifests = Vec::new();
                for _ in 0..BACKUPS {
                    manifests.push(world.full().await);
                }
                manifests
            })
        })
    });
    let mut moved_meanwhile = 0;
    for manifest in &manifests {
        moved_meanwhile += manifest.last_seq - manifest.base_seq;
        let options = stillpoint_store_server::backup::RestoreOptions {
            backup: manifest.id.clone(),
            ..options(To::Latest, world.path(&manifest.id))
        };
        let report = stillpoint_store_server::backup::restore(&world.target, &options, &silent)
            .await
            .unwrap();
        assert_eq!(report.seq, manifest.last_seq);
        assert_eq!(report.state_hash, manifest.state_hash);
        assert_eq!(report.namespaces, manifest.namespaces);
        let content = content_of(&report);
        let gold: i64 = content.records.iter().map(|(_, r)| count_of(Some(r))).sum();
        assert_eq!(gold, ACCOUNTS as i64 * GOLD_EACH, "{}", manifest.id);
    }
    assert!(
        moved_meanwhile > 0,
        "nothing was moved while they were taken"
    );
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_store_can_be_backed_up_and_comes_back_empty() {
    let world = World::new();
    let manifest = world.full().await;
    assert_eq!((manifest.kind, manifest.last_seq), (Kind::Full, 0));
    let report = world.restore(To::Latest, "restored").await.unwrap();
    assert_eq!(content_of(&report), Content::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_store_is_copied_in_portions_and_no_faster_than_it_may_be() {
    let world = World::new();
    // Hard to compress, so that the size of what is stored means something.
    let mut noise = 1_u64;
    for n in 0..30 {
        let mut text = String::new();
        while text.len() < 700_000 {
            noise = noise
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            text += &format!("{noise:016x}");
        }
        world.execute(put(&format!("book{n}"), &format!("{text:?}")));
    }
    let told = std::sync::Mutex::new(Vec::<Progress>::new());
    let options = CreateOptions {
        bytes_per_second: 40 << 20,
        label: "large".into(),
        ..CreateOptions::default()
    };
    let begun = std::time::Instant::now();
    let manifest = create(&world.store, &world.target, &options, &|p| {
        told.lock().unwrap().push(p)
    })
    .await
    .unwrap();
    let least = manifest.raw_bytes() as f64 / f64::from(40 << 20);
    assert!(begun.elapsed().as_secs_f64() >= least * 0.9);
    let told = told.into_inner().unwrap();
    assert_eq!(told.len(), manifest.files.len());
    assert!(told.iter().filter(|p| p.phase == Phase::Records).count() >= 2);
    let last = told.last().unwrap();
    assert_eq!(last.stored_bytes, manifest.stored_bytes());
    assert_eq!(last.bytes, manifest.raw_bytes());
    assert_eq!(last.records_total, 30);
    let report = world
        .restore(To::Label("large".into()), "restored")
        .await
        .unwrap();
    assert_eq!(content_of(&report), Content::of(&world.store));
}

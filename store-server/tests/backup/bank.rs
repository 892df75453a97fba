//! Forty backups, full and incremental, some of them encrypted, of a bank whose clients never pause.
//!
//! Each transfer is a commit over two accounts, so the sum over all of them tells a mixture of two states from a state that
//! was. And the revision of each transfer is written down, so that the balances after any commit can be computed from
//! the transfers alone.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use stillpoint_proto::v1::op_result::Kind;
use stillpoint_store_server::{
    backup::{CreateOptions, Key, Kind as BackupKind, RestoreOptions, To, create, list, restore},
    store::Store,
};
use tokio::runtime::Handle;

use crate::{
    common::{NAMESPACE, add, count_of, put, txn},
    world::{World, content_of, incremental, options, silent},
};

const ACCOUNTS: u64 = 500;

const GOLD_EACH: i64 = 100;

const BACKUPS: usize = 40;

/// Of so many backups the first is a full one.
const FULL_EVERY: usize = 5;

/// What each client transfers between two backups, at least.
const TRANSFERS_BETWEEN: usize = 20;

/// A commit: from whom, to whom, how much.
#[derive(Clone, Copy, Debug)]
struct Transfer {
    from: u64,
    to: u64,
    gold: i64,
}

/// Transfers by revision.
type Journal = BTreeMap<u64, Transfer>;

fn account(n: u64) -> String {
    format!("account{n:04}")
}

/// Transfers until it is told to stop; gives what it did.
fn transfer(store: &Store, client: u64, done: &AtomicBool, told: impl Fn()) -> Journal {
    let mut journal = Journal::new();
    let mut n = client;
    while !done.load(Ordering::Relaxed) {
        n += 2;
        let from = n * 7 % ACCOUNTS;
        let transfer = Transfer {
            from,
            to: (from + 1 + n * 13 % (ACCOUNTS - 1)) % ACCOUNTS,
            gold: (n % 5) as i64,
        };
        let Transfer { from, to, gold } = transfer;
        let moved = vec![add(&account(from), -gold), add(&account(to), gold)];
        match store.execute(NAMESPACE, txn(moved)).unwrap() {
            Kind::Txn(txn) => journal.insert(txn.revision, transfer),
            other => panic!("not the answer to a transaction: {other:?}"),
        };
        told();
    }
    journal
}

/// The balances after each of these revisions.
fn balances(journal: &Journal, revisions: &[u64]) -> BTreeMap<u64, BTreeMap<String, i64>> {
    let mut now: BTreeMap<String, i64> = (0..ACCOUNTS).map(|n| (account(n), GOLD_EACH)).collect();
    let mut then = BTreeMap::new();
    let mut transfers = journal.iter().peekable();
    let mut revisions = revisions.to_vec();
    revisions.sort_unstable();
    for revision in revisions {
        while let Some((_, t)) = transfers.next_if(|(at, _)| **at <= revision) {
            *now.entry(account(t.from)).or_default() -= t.gold;
            *now.entry(account(t.to)).or_default() += t.gold;
        }
        then.insert(revision, now.clone());
    }
    then
}

#[tokio::test(flavor = "multi_thread")]
async fn every_one_of_40_backups_restores_to_a_state_that_was() {
    let world = World::new();
    let all = (0..ACCOUNTS).map(|n| put(&account(n), &format!(r#"{{"n": {GOLD_EACH}}}"#)));
    world.execute(txn(all.collect()));
    let key = Key::generate(&world.path("key")).unwrap();
    let with_key = world.target.clone().with_key(Some(key));
    let done = AtomicBool::new(false);
    let (told, transfers) = std::sync::mpsc::sync_channel(TRANSFERS_BETWEEN);
    let journal = thread::scope(|scope| {
        let clients: Vec<_> = [0, 1]
            .map(|client| {
                let (store, done, told) = (&world.store, &done, told.clone());
                // Who waits to tell of a transfer moves no gold; nobody has to hear of each.
                scope.spawn(move || {
                    transfer(store, client, done, || {
                        let _ = told.try_send(());
                    })
                })
            })
            .into();
        let stop = SetOnDrop(&done);
        tokio::task::block_in_place(|| {
            Handle::current().block_on(async {
                for nth in 0..BACKUPS {
                    for _ in 0..TRANSFERS_BETWEEN {
                        transfers.recv().unwrap();
                    }
                    let target = match (nth / FULL_EVERY).is_multiple_of(2) {
                        true => &world.target,
                        false => &with_key,
                    };
                    let options = match nth % FULL_EVERY {
                        0 => CreateOptions::default(),
                        _ => incremental(),
                    };
                    (create(&world.store, target, &options, &silent).await).unwrap();
                }
            })
        });
        drop(stop);
        let journals = clients.into_iter().map(|client| client.join().unwrap());
        journals.flatten().collect::<Journal>()
    });

    let listing = list(&world.target).await.unwrap();
    assert!(listing.damaged.is_empty(), "{:?}", listing.damaged);
    assert_eq!(listing.backups.len(), BACKUPS);
    // All is in one namespace, so a commit's number is its revision.
    let revisions: Vec<u64> = listing.backups.iter().map(|m| m.last_seq).collect();
    let balances = balances(&journal, &revisions);
    let mut moved_meanwhile = 0;
    for manifest in &listing.backups {
        if manifest.kind == BackupKind::Full {
            moved_meanwhile += manifest.last_seq - manifest.base_seq;
        }
        let options = RestoreOptions {
            backup: manifest.id.clone(),
            ..options(To::Latest, world.path(&manifest.id))
        };
        let report = restore(&with_key, &options, &silent).await.unwrap();
        assert_eq!(report.seq, manifest.last_seq);
        // The manifest has the hash that the live store wrote into its log with that commit.
        assert!(report.state_hash.is_some());
        assert_eq!(report.state_hash, manifest.state_hash);
        assert_eq!(report.namespaces, manifest.namespaces);
        // Counts the hash again, over the records that are there.
        let content = content_of(&report);
        std::fs::remove_dir_all(&report.into).unwrap();
        let found: BTreeMap<String, i64> = (content.records.iter())
            .map(|(key, record)| {
                let name = String::from_utf8(key.to_vec()).unwrap();
                (name, count_of(Some(record)))
            })
            .collect();
        let id = &manifest.id;
        let gold: i64 = found.values().sum();
        assert_eq!(
            gold,
            ACCOUNTS as i64 * GOLD_EACH,
            "{id}: {:?}",
            manifest.kind
        );
        assert!(
            found == balances[&manifest.last_seq],
            "{id}: other balances"
        );
    }
    assert!(
        moved_meanwhile > 0,
        "nothing was moved while full backups were taken"
    );
}

/// Clients end also where a backup fails.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

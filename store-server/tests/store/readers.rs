//! Readers see one revision. While a writer moves gold between accounts, in transactions, the sum is the same in every
//! batch, every page of a scan, and every transaction that only reads; and no reader ever goes back in time.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use stillpoint_proto::v1::{Record, ScanOp, op_result::Kind};
use stillpoint_store_server::{config::EngineKind, store::Store};

use crate::common::{NAMESPACE, add, batch_get, config, count_of, get, put, scan, txn};

/// Accounts, in an order that transfers do not keep to.
const ACCOUNTS: u64 = 120;

/// Transfers the writer makes.
const TRANSFERS: u64 = 400;

const GOLD_EACH: i64 = 100;

#[test]
fn readers_see_one_revision_with_sled() {
    readers_see_one_revision(EngineKind::Sled, 4 << 10);
}

#[test]
fn readers_see_one_revision_with_sled_when_most_waits_in_memory() {
    readers_see_one_revision(EngineKind::Sled, 64 << 20);
}

#[test]
fn readers_see_one_revision_with_the_memory_engine() {
    readers_see_one_revision(EngineKind::Memory, 4 << 10);
}

fn readers_see_one_revision(engine: EngineKind, overlay_bytes: usize) {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path(), engine);
    // What may wait in memory is little, so that the applier is always at work.
    config.view.overlay_bytes = overlay_bytes;
    config.log.segment_bytes = 64 << 10;
    let store = Store::open(config).unwrap();
    let names: Vec<String> = (0..ACCOUNTS).map(|n| format!("account{n:04}")).collect();
    let all = names
        .iter()
        .map(|name| put(name, &format!(r#"{{"n": {GOLD_EACH}}}"#)));
    store.execute(NAMESPACE, txn(all.collect())).unwrap();
    let done = AtomicBool::new(false);
    let readers: [(&str, Read); 4] = [
        ("batch", read_batch),
        ("transaction", read_txn),
        ("page", read_page),
        ("page in reverse", read_page_in_reverse),
    ];
    thread::scope(|scope| {
        for (what, read) in readers {
            let (store, names, done) = (&store, &names, &done);
            scope.spawn(move || {
                let mut newest = 0;
                let mut reads = 0;
                while !done.load(Ordering::Relaxed) || reads == 0 {
                    let seen = read(store, names);
                    seen.check(what, newest);
                    newest = seen.revision;
                    reads += 1;
                }
            });
        }
        // Even if a transfer fails, the readers must come to an end.
        let _done = SetOnDrop(&done);
        for n in 0..TRANSFERS {
            let account = |n: u64| &names[(n % ACCOUNTS) as usize];
            let transfer = txn(vec![
                add(account(n * 7), -3),
                add(account(n * 13 + 5), 1),
                add(account(n * 29 + 50), 2),
            ]);
            store.execute(NAMESPACE, transfer).unwrap();
        }
    });
    store.close();
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One read of all accounts.
type Read = fn(&Store, &[String]) -> Seen;

/// What one read found.
struct Seen {
    revision: u64,
    records: Vec<Option<Record>>,
}

impl Seen {
    fn check(&self, what: &str, not_before: u64) {
        let revision = self.revision;
        assert!(
            revision >= not_before,
            "{what}: from revision {not_before} back to {revision}"
        );
        assert_eq!(
            self.records.len() as u64,
            ACCOUNTS,
            "{what} at revision {revision}"
        );
        let sum: i64 = self.records.iter().map(|r| count_of(r.as_ref())).sum();
        assert_eq!(
            sum,
            ACCOUNTS as i64 * GOLD_EACH,
            "{what}: the sum at revision {revision}"
        );
        let newest = self.records.iter().flatten().map(|r| r.mod_rev).max();
        // Every commit writes to some account.
        assert_eq!(
            newest,
            Some(revision),
            "{what}: what the revision says is what was read"
        );
    }
}

fn read_batch(store: &Store, names: &[String]) -> Seen {
    match store.execute(NAMESPACE, batch_get(names)) {
        Ok(Kind::BatchGet(batch)) => Seen {
            revision: batch.revision,
            records: batch
                .results
                .into_iter()
                .map(|result| result.record)
                .collect(),
        },
        other => panic!("not the answer to a batch: {other:?}"),
    }
}

fn read_txn(store: &Store, names: &[String]) -> Seen {
    let reads = names.iter().map(|name| get(name)).collect();
    let Ok(Kind::Txn(answer)) = store.execute(NAMESPACE, txn(reads)) else {
        panic!("not the answer to a transaction");
    };
    let records = answer.results.into_iter().map(|result| match result.kind {
        Some(Kind::Get(get)) => get.record,
        other => panic!("not the answer to a get: {other:?}"),
    });
    Seen {
        revision: answer.revision,
        records: records.collect(),
    }
}

fn read_page(store: &Store, _: &[String]) -> Seen {
    page(store, false)
}

fn read_page_in_reverse(store: &Store, _: &[String]) -> Seen {
    page(store, true)
}

fn page(store: &Store, reverse: bool) -> Seen {
    let page = scan(
        store,
        ScanOp {
            collection: "c".into(),
            prefix: b"account"[..].into(),
            reverse,
            ..ScanOp::default()
        },
    );
    Seen {
        revision: page.revision,
        records: page.entries.into_iter().map(|entry| entry.record).collect(),
    }
}

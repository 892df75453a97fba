//! What the stores have: accounts, between which a clerk moves gold.
//!
//! A transfer is one commit, which also counts the transfers. So the sum over all accounts tells half a transfer, and the
//! count how far the store is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};
use stillpoint_client::{
    CallOptions, Client, Config,
    v1::{Op, op_result::Kind},
};
use stillpoint_tests::{op, server::Server};

const ACCOUNTS: u64 = 50;

const GOLD_EACH: i64 = 1000;

/// The counter of transfers.
const TRANSFERS: &str = "transfers";

/// The namespace.
const NAMESPACE: &str = "bank";

/// Bytes of a book; they are hard to compress.
const BOOK_BYTES: usize = 50_000;

fn account(n: u64) -> String {
    format!("account{n:02}")
}

/// Opens the accounts, and fills the shelves with this many books.
pub fn open(server: &Server, books: u64, random: &mut StdRng) {
    let client = server.client(NAMESPACE);
    let opened = (0..ACCOUNTS).map(|n| op::add(&account(n), GOLD_EACH));
    let written = |op| client.call(op, CallOptions::default()).unwrap();
    written(op::txn(opened.collect()));
    for n in 0..books {
        written(op::put(&format!("book{n}"), &noise(BOOK_BYTES, random)));
    }
    client.close(PATIENCE).unwrap();
}

/// Sees that no gold was lost or made; gives the number of transfers.
pub fn audit(server: &Server) -> i64 {
    let client = server.client(NAMESPACE);
    let names: Vec<String> = (0..ACCOUNTS)
        .map(account)
        .chain([TRANSFERS.into()])
        .collect();
    let read = op::batch_get(names.iter().map(String::as_str));
    let mut counts = match client.call(read, CallOptions::default()).unwrap().kind {
        Kind::BatchGet(batch) => {
            let records = batch.results.into_iter().map(|result| result.record);
            records
                .map(|record| op::count_of(record.as_ref()))
                .collect::<Vec<_>>()
        }
        other => panic!("not the answer to a batch: {other:?}"),
    };
    let transfers = counts.pop().unwrap();
    let gold: i64 = counts.iter().sum();
    assert_eq!(
        gold,
        ACCOUNTS as i64 * GOLD_EACH,
        "of {transfers} transfers"
    );
    client.close(PATIENCE).unwrap();
    transfers
}

/// Makes this many transfers.
pub fn transfer_some(server: &Server, count: u32, random: &mut StdRng) {
    let client = server.client(NAMESPACE);
    for _ in 0..count {
        let transfer = transfer(0, random);
        client.call(transfer, CallOptions::default()).unwrap();
    }
    client.close(PATIENCE).unwrap();
}

/// Transfers gold all the time, and goes on when the server is there again; ended by a drop.
pub struct Clerk {
    /// Transfers acknowledged; locked while one is under way.
    acknowledged: Arc<Mutex<i64>>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Clerk {
    /// Begins. With each transfer a page of so many bytes is written, too.
    pub fn begin(server: &Server, page_bytes: usize, seed: u64) -> Clerk {
        let config = Config {
            deadline: PATIENCE,
            ..Config::new(server.url(), NAMESPACE)
        };
        let client = Client::connect(config).unwrap();
        let (acknowledged, done) = (Arc::<Mutex<i64>>::default(), Arc::<AtomicBool>::default());
        let thread = {
            let (acknowledged, done) = (acknowledged.clone(), done.clone());
            thread::spawn(move || {
                let mut random = StdRng::seed_from_u64(seed);
                while !done.load(Ordering::Relaxed) {
                    let mut acknowledged = acknowledged.lock();
                    let transfer = transfer(page_bytes, &mut random);
                    client.call(transfer, CallOptions::default()).unwrap();
                    *acknowledged += 1;
                    // Whoever looks must get a turn.
                    MutexGuard::unlock_fair(acknowledged);
                }
            })
        };
        Clerk {
            acknowledged,
            done,
            thread: Some(thread),
        }
    }

    /// Waits for the answer to the transfer under way, and sees that every one is in the store exactly once.
    pub fn see_that_all_is_there(&self, server: &Server) {
        let acknowledged = self.acknowledged.lock();
        assert_eq!(audit(server), *acknowledged);
        let is_at_work = self.thread.as_ref().is_some_and(|t| !t.is_finished());
        assert!(is_at_work, "the clerk was refused");
    }

    /// Transfers acknowledged so far.
    pub fn acknowledged(&self) -> i64 {
        *self.acknowledged.lock()
    }
}

impl Drop for Clerk {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        // Where the test has failed, there may be no server, for which it would wait.
        if !thread::panicking() {
            self.thread.take().unwrap().join().unwrap();
        }
    }
}

fn transfer(page_bytes: usize, random: &mut StdRng) -> Op {
    let (from, gold) = (random.random_range(0..ACCOUNTS), random.random_range(1..9));
    let to = (from + random.random_range(1..ACCOUNTS)) % ACCOUNTS;
    let mut ops = vec![
        op::add(&account(from), -gold),
        op::add(&account(to), gold),
        op::add(TRANSFERS, 1),
    ];
    if page_bytes > 0 {
        ops.push(op::put("page", &noise(page_bytes, random)));
    }
    op::txn(ops)
}

fn noise(bytes: usize, random: &mut StdRng) -> String {
    let words = (0..bytes / 16).map(|_| format!("{:016x}", random.next_u64()));
    words.collect()
}

/// How long a write may take, with the starts of servers in between.
const PATIENCE: Duration = Duration::from_secs(60);

//! One client with many writes in flight, and what it knows of each.

use std::{collections::HashMap, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use stillpoint_client::{
    CallOptions, Client, Config,
    v1::{Durability, GetResult, Op, Record, op_result::Kind},
};
use stillpoint_tests::op;

use crate::Answers;

/// The counter that all workers add to.
pub const SHARED: &str = "shared";

/// Records a worker puts to.
const KEYS: usize = 8;

/// Writes in flight.
const DEPTH: usize = 64;

/// A worker.
pub struct Worker {
    name: String,
    client: Client,
    random: StdRng,
    in_flight: HashMap<u64, Write>,
    plan: Plan,
}

/// What was sent and what was acknowledged.
#[derive(Debug, Default)]
pub struct Plan {
    /// Puts per key: the last one sent and the last one acknowledged, counted from 1.
    puts: [(u64, u64); KEYS],
    /// Additions to the worker's own counter.
    adds_sent: i64,
    adds_acknowledged: i64,
    /// Transfers between the worker's two accounts.
    transfers_sent: i64,
    transfers_acknowledged: i64,
    /// Sum of what went to the shared counter.
    pub shared_sent: i64,
    /// The part of it that was acknowledged.
    pub shared_acknowledged: i64,
    /// Records inserted once.
    inserts_sent: u64,
    inserted: Vec<u64>,
    acknowledged: u64,
}

/// A write in flight.
#[derive(Clone, Copy, Debug)]
enum Write {
    Put(usize, u64),
    Add(i64),
    AddShared(i64),
    Transfer,
    Insert(u64),
}

impl Worker {
    /// A worker with a client of its own, which it keeps for ever.
    pub fn connect(url: &str, index: usize, seed: u64) -> Worker {
        let config = Config {
            deadline: Duration::from_secs(60),
            ..Config::new(url, "world")
        };
        Worker {
            name: format!("worker{index}"),
            client: Client::connect(config).unwrap(),
            random: StdRng::seed_from_u64(seed),
            in_flight: HashMap::new(),
            plan: Plan::default(),
        }
    }

    /// What was sent and what was acknowledged.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Writes acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.plan.acknowledged
    }

    /// Keeps many writes in flight until the cycle is over.
    pub fn load(&mut self, answers: &Answers) {
        loop {
            while self.in_flight.len() < DEPTH {
                self.send();
            }
            self.client.poll(Duration::from_millis(5));
            if answers.add(self.take_answers(|| answers.stop())) {
                return;
            }
        }
    }

    /// Waits for the answers of all that is in flight.
    pub fn settle(&mut self) {
        while !self.in_flight.is_empty() {
            self.client.poll(Duration::from_secs(1));
            self.take_answers(|| {});
        }
    }

    fn send(&mut self) {
        let plan = &mut self.plan;
        let (write, op, lane) = match self.random.random_range(0..100) {
            0..40 => {
                let at = self.random.random_range(0..KEYS);
                plan.puts[at].0 += 1;
                let text = text(plan.puts[at].0, self.random.random_range(0..1500));
                let op = op::put(&put_key(&self.name, at), &text);
                // Puts to one key go through one lane, so that the last one sent is the one that stays.
                (Write::Put(at, plan.puts[at].0), op, at as u64 + 1)
            }
            40..60 => {
                let delta = self.random.random_range(1..10);
                plan.adds_sent += delta;
                (Write::Add(delta), op::add(&self.name, delta), 0)
            }
            60..75 => {
                let delta = self.random.random_range(1..10);
                plan.shared_sent += delta;
                (Write::AddShared(delta), op::add(SHARED, delta), 0)
            }
            75..95 => {
                plan.transfers_sent += 1;
                (Write::Transfer, transfer(&self.name), 0)
            }
            _ => {
                plan.inserts_sent += 1;
                let n = plan.inserts_sent;
                let key = insert_key(&self.name, n);
                (Write::Insert(n), op::insert(&key, &text(n, 30)), 0)
            }
        };
        // Either is promised to outlive the death of the process.
        let durability = match self.random.random_ratio(1, 4) {
            true => Durability::Applied,
            false => Durability::Synced,
        };
        let options = CallOptions {
            lane,
            durability,
            ..CallOptions::default()
        };
        let id = self.client.submit(op, options).unwrap();
        self.in_flight.insert(id, write);
    }

    fn take_answers(&mut self, over: impl Fn()) -> u64 {
        let mut count = 0;
        while let Some(id) = self.client.next() {
            let outcome = self.client.take(id).unwrap();
            let write = self.in_flight.remove(&id).unwrap();
            if let Err(error) = outcome {
                // So that nobody waits for more.
                over();
                panic!("{}: {write:?} failed: {error}", self.name);
            }
            self.plan.acknowledge(write);
            count += 1;
        }
        count
    }

    /// Whether what is there lies between what was acknowledged and what was sent.
    pub fn check_bounds(&self, client: &Client, kill: u32) {
        let found = Found::read(client, &self.name);
        let plan = &self.plan;
        for (at, (sent, acknowledged)) in plan.puts.into_iter().enumerate() {
            let n = found.puts[at].as_ref().map_or(0, number_of);
            assert!(
                (acknowledged..=sent).contains(&n),
                "cycle {kill}, {}: put {n} to key {at} is there; {acknowledged} acknowledged, {sent} sent",
                self.name
            );
        }
        for (what, n, acknowledged, sent) in [
            (
                "counter",
                found.counter,
                plan.adds_acknowledged,
                plan.adds_sent,
            ),
            (
                "account",
                found.to,
                plan.transfers_acknowledged,
                plan.transfers_sent,
            ),
        ] {
            assert!(
                (acknowledged..=sent).contains(&n),
                "cycle {kill}, {}: the {what} has {n}; {acknowledged} acknowledged, {sent} sent",
                self.name
            );
        }
        assert_eq!(
            found.from + found.to,
            0,
            "cycle {kill}, {}: a transfer is half done",
            self.name
        );
    }

    /// Whether everything is there exactly once; nothing may be in flight.
    pub fn check_exact(&self, client: &Client, kill: u32) {
        assert!(self.in_flight.is_empty());
        let found = Found::read(client, &self.name);
        let plan = &self.plan;
        let name = &self.name;
        for (at, (sent, acknowledged)) in plan.puts.into_iter().enumerate() {
            assert_eq!(
                sent, acknowledged,
                "cycle {kill}, {name}: every put has its answer"
            );
            let n = found.puts[at].as_ref().map_or(0, number_of);
            let version = found.puts[at].as_ref().map_or(0, |r| r.version);
            assert_eq!(
                (n, version),
                (sent, sent),
                "cycle {kill}, {name}: puts to key {at}"
            );
        }
        assert_eq!(
            found.counter, plan.adds_acknowledged,
            "cycle {kill}, {name}: counter"
        );
        assert_eq!(
            (found.from, found.to),
            (-plan.transfers_acknowledged, plan.transfers_acknowledged),
            "cycle {kill}, {name}: transfers"
        );
        for inserted in plan.inserted.rchunks(500).take(1) {
            let keys: Vec<String> = inserted.iter().map(|n| insert_key(name, *n)).collect();
            for (n, result) in inserted.iter().zip(read(client, &keys)) {
                let record = result.record;
                let is_whole = record
                    .as_ref()
                    .is_some_and(|r| r.version == 1 && number_of(r) == *n);
                assert!(is_whole, "cycle {kill}, {name}: insert {n} is {record:?}");
            }
        }
    }
}

impl Plan {
    fn acknowledge(&mut self, write: Write) {
        self.acknowledged += 1;
        match write {
            Write::Put(at, n) => self.puts[at].1 = self.puts[at].1.max(n),
            Write::Add(delta) => self.adds_acknowledged += delta,
            Write::AddShared(delta) => self.shared_acknowledged += delta,
            Write::Transfer => self.transfers_acknowledged += 1,
            Write::Insert(n) => self.inserted.push(n),
        }
    }
}

/// What the store has of a worker, as of one revision.
struct Found {
    puts: Vec<Option<Record>>,
    counter: i64,
    from: i64,
    to: i64,
}

impl Found {
    fn read(client: &Client, name: &str) -> Found {
        let mut keys = vec![name.to_owned(), account(name, "from"), account(name, "to")];
        keys.extend((0..KEYS).map(|at| put_key(name, at)));
        let mut records = read(client, &keys).into_iter().map(|result| result.record);
        let mut number = || op::count_of(records.next().flatten().as_ref());
        let (counter, from, to) = (number(), number(), number());
        Found {
            puts: records.collect(),
            counter,
            from,
            to,
        }
    }
}

/// The number of a counter.
pub fn counter(client: &Client, name: &str) -> i64 {
    let results = read(client, &[name.to_owned()]);
    op::count_of(results[0].record.as_ref())
}

fn read(client: &Client, keys: &[String]) -> Vec<GetResult> {
    let op = op::batch_get(keys.iter().map(String::as_str));
    match client.call(op, CallOptions::default()).unwrap().kind {
        Kind::BatchGet(batch) => batch.results,
        other => panic!("not the answer to a batch: {other:?}"),
    }
}

fn transfer(name: &str) -> Op {
    op::txn(vec![
        op::add(&account(name, "from"), -1),
        op::add(&account(name, "to"), 1),
    ])
}

fn account(name: &str, side: &str) -> String {
    format!("{name}/{side}")
}

fn put_key(name: &str, at: usize) -> String {
    format!("{name}/put/{at}")
}

fn insert_key(name: &str, n: u64) -> String {
    format!("{name}/insert/{n}")
}

/// A text that begins with a number and has this many bytes behind it.
fn text(n: u64, bytes: usize) -> String {
    format!("{n} {}", "x".repeat(bytes))
}

fn number_of(record: &Record) -> u64 {
    let text = op::text_of(record);
    let (number, _) = text.split_once(' ').expect("a number and a blank");
    number.parse().expect("a number")
}

//! One who moves amounts, many transfers at a time, and counts them in the same transactions. He speaks the old version.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use stillpoint_client::{CallOptions, Client, Config, SessionConfig, v1::Record};
use stillpoint_tests::op;

use crate::ACCOUNTS;

/// Transfers in flight.
const DEPTH: usize = 16;

/// Ends the work of all tellers.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// They begin nothing more.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A teller.
pub struct Teller {
    name: String,
    client: Client,
    random: StdRng,
    in_flight: HashSet<u64>,
    acknowledged: u64,
}

impl Teller {
    /// A teller with a client and a session of its own, which it keeps over all kills.
    pub fn connect(url: &str, number: u64, seed: u64) -> Teller {
        let name = format!("teller-{number}");
        let session = SessionConfig {
            schemas: [("test".to_owned(), 0)].into(),
            ttl: Duration::from_secs(60),
            ..SessionConfig::new("bank", &*name)
        };
        let config = Config {
            deadline: Duration::from_secs(60),
            session: Some(session),
            ..Config::new(url, "world")
        };
        let client = Client::connect(config).expect("the server answers");
        // So that its count is there.
        let count = op::add(&name, 0);
        client
            .call(count, CallOptions::default())
            .expect("it is written");
        Teller {
            client,
            name,
            random: StdRng::seed_from_u64(seed),
            in_flight: HashSet::new(),
            acknowledged: 0,
        }
    }

    /// The name of its count's record.
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// Transfers that were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Keeps transfers in flight until it is told to stop.
    pub fn work(&mut self, stop: &Stop) {
        while !stop.0.load(Ordering::Relaxed) {
            while self.in_flight.len() < DEPTH {
                self.transfer();
            }
            self.client.poll(Duration::from_millis(5));
            self.take_answers();
        }
    }

    /// Waits for the answers of all that is in flight.
    pub fn settle(&mut self) {
        while !self.in_flight.is_empty() {
            self.client.poll(Duration::from_secs(1));
            self.take_answers();
        }
    }

    fn transfer(&mut self) {
        let from = self.random.random_range(0..ACCOUNTS);
        let to = (from + self.random.random_range(1..ACCOUNTS)) % ACCOUNTS;
        let amount = self.random.random_range(1..10);
        let transfer = op::txn(vec![
            op::add(&account(from), -amount),
            op::add(&account(to), amount),
            op::add(&self.name, 1),
        ]);
        let id = self.client.submit(transfer, CallOptions::default());
        self.in_flight.insert(id.expect("it has room"));
    }

    fn take_answers(&mut self) {
        while let Some(id) = self.client.next() {
            let outcome = self.client.take(id).expect("it has come");
            assert!(self.in_flight.remove(&id), "it is ours");
            outcome.unwrap_or_else(|error| panic!("{}: {error}", self.name));
            self.acknowledged += 1;
        }
    }
}

/// The name of an account's record.
pub fn account(n: u64) -> String {
    format!("account-{n:04}")
}

/// The number in a record, in the old version or in the new one.
pub fn number(record: &Record) -> i64 {
    let mut bytes = &record.value[..];
    let value = rmpv::decode::read_value(&mut bytes).expect("the store keeps MessagePack");
    let fields = value.as_map().expect("it is a map");
    let expected = ["n", "amount"][record.schema as usize];
    assert_eq!(fields.len(), 1, "{value}");
    assert_eq!(fields[0].0.as_str(), Some(expected), "{value}");
    fields[0].1.as_i64().expect("it is a number")
}

//! A clerk: a session that speaks one version, adds to accounts, and looks at the form of all that it is shown.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use stillpoint_client::{
    CallOptions, Client, Config, Outcome, SessionConfig,
    v1::{
        ClaimOp, Op, Reason, Record, ReleaseOp, StoreError, WatchRequest, op::Kind,
        op_result::Kind as Done, watch_response,
    },
};
use stillpoint_tests::op;

use crate::{Stop, account, busy, form};

/// How long a call may take on a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(30);

/// What a clerk has done so far, for others to see.
#[derive(Clone, Debug, Default)]
pub struct Count(Arc<AtomicU64>);

impl Count {
    /// Deals.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A clerk.
pub struct Clerk {
    name: String,
    version: u32,
    client: Client,
    watch: u64,
    random: StdRng,
    accounts: Vec<u64>,
    /// What was acknowledged, by account.
    added: BTreeMap<u64, i64>,
    /// What was told, and how often.
    told: BTreeMap<&'static str, u64>,
    deals: Count,
}

impl Clerk {
    /// One of this version, with a session and a watch of its own.
    pub fn connect(url: &str, version: u32, seed: u32) -> Clerk {
        let name = format!("clerk-{seed}");
        let session = SessionConfig {
            schemas: [("test".to_owned(), version)].into(),
            ttl: Duration::from_secs(60),
            ..SessionConfig::new("bank", &*name)
        };
        let config = Config {
            deadline: DEADLINE,
            session: Some(session),
            ..Config::new(url, "world")
        };
        let client = Client::connect(config).expect("the store has its version");
        let request = WatchRequest {
            collection: "test".into(),
            ..WatchRequest::default()
        };
        Clerk {
            watch: client.watch(request).expect("it can watch"),
            client,
            name,
            version,
            random: StdRng::seed_from_u64(seed.into()),
            accounts: busy().collect(),
            added: BTreeMap::new(),
            told: BTreeMap::new(),
            deals: Count::default(),
        }
    }

    /// What it has done, also when it is at work.
    pub fn count(&self) -> Count {
        self.deals.clone()
    }

    /// What was acknowledged of an account.
    pub fn added(&self, account: u64) -> i64 {
        self.added.get(&account).copied().unwrap_or(0)
    }

    /// Works until one of the two is told.
    pub fn work(mut self, stop: &Stop, leave: &Stop) -> Clerk {
        while !stop.is_told() && !leave.is_told() {
            self.deal();
            self.listen();
            self.deals.0.fetch_add(1, Ordering::Relaxed);
        }
        self
    }

    /// The same; then it ends its session.
    pub fn work_and_leave(self, stop: &Stop, leave: &Stop) -> Clerk {
        let clerk = self.work(stop, leave);
        let left = clerk.client.close_session(false, Duration::ZERO, DEADLINE);
        left.unwrap_or_else(|error| panic!("{}: {error}", clerk.name));
        clerk
    }

    fn deal(&mut self) {
        let number = *self.accounts.choose(&mut self.random).expect("some");
        let by = self.random.random_range(1..10);
        match self.random.random_range(0..12) {
            0 => self.look_at_all(),
            1..4 => self.patch(number, by),
            4..6 => self.read_and_put(number, by),
            6..9 => self.transact(number, by),
            _ => self.own(number, by),
        }
    }

    fn look_at_all(&mut self) {
        for (_, record) in form::scan(&self.client, false) {
            self.see("scanned", &record);
        }
        let names: Vec<_> = self.accounts.iter().map(|n| account(*n)).collect();
        match self.call(op::batch_get(names.iter().map(String::as_str))) {
            Some(Done::BatchGet(found)) => {
                for found in found.results {
                    self.see("read", &found.record.expect("it is there"));
                }
            }
            other => panic!("{}: {other:?}", self.name),
        }
    }

    fn patch(&mut self, number: u64, by: i64) {
        match self.call(form::add(self.version, &account(number), by)) {
            Some(Done::Patch(patched)) => {
                self.see("patched", &patched.record.expect("it was asked for"));
                self.acknowledged(number, by);
            }
            None => {}
            other => panic!("{}: {other:?}", self.name),
        }
    }

    fn read_and_put(&mut self, number: u64, by: i64) {
        let name = account(number);
        let found = match self.call(op::get(&name)) {
            Some(Done::Get(found)) => found.record.expect("it is there"),
            other => panic!("{}: {other:?}", self.name),
        };
        let sum = self.see("read", &found) + by;
        let put = form::put(self.version, &name, sum, Some(found.mod_rev));
        match self.call(put) {
            Some(Done::Put(_)) => {
                self.note("put");
                self.acknowledged(number, by);
            }
            None => {}
            other => panic!("{}: {other:?}", self.name),
        }
    }

    /// Takes from one account what it gives to another.
    fn transact(&mut self, number: u64, by: i64) {
        let other = *self.accounts.choose(&mut self.random).expect("some");
        if other == number {
            return;
        }
        let steps = [(number, by), (other, -by)];
        let adds = steps.map(|(number, by)| form::add(self.version, &account(number), by));
        match self.call(op::txn(adds.to_vec())) {
            Some(Done::Txn(done)) => {
                for result in done.results {
                    match result.kind {
                        Some(Done::Patch(patched)) => {
                            self.see("transacted", &patched.record.expect("it was asked for"));
                        }
                        other => panic!("{}: {other:?}", self.name),
                    }
                }
                for (number, by) in steps {
                    self.acknowledged(number, by);
                }
            }
            None => {}
            other => panic!("{}: {other:?}", self.name),
        }
    }

    /// Owns an account for a while: what it was given then is so until it writes it, whoever migrates it meanwhile.
    fn own(&mut self, number: u64, by: i64) {
        let name = account(number);
        let key = Some(op::key(&name));
        let claim = Kind::Claim(ClaimOp {
            key: key.clone(),
            load: true,
            ..ClaimOp::default()
        });
        let mut sum = match self.call(Op { kind: Some(claim) }) {
            Some(Done::Claim(claimed)) => {
                self.see("claimed", &claimed.record.expect("it is there"))
            }
            None => return,
            other => panic!("{}: {other:?}", self.name),
        };
        for _ in 0..3 {
            sum += by;
            match self.call(form::put(self.version, &name, sum, None)) {
                Some(Done::Put(_)) => self.acknowledged(number, by),
                other => panic!("{}, who owns it: {other:?}", self.name),
            }
        }
        let release = Kind::Release(ReleaseOp { key });
        match self.call(Op {
            kind: Some(release),
        }) {
            Some(Done::Release(release)) => assert!(release.released, "{}", self.name),
            other => panic!("{}: {other:?}", self.name),
        }
    }

    /// Takes what the watch has heard so far.
    fn listen(&mut self) {
        while let Some(heard) = self.client.watch_take(self.watch) {
            let message = heard.unwrap_or_else(|error| panic!("{}: {error}", self.name));
            let Some(watch_response::Kind::Commits(told)) = message.kind else {
                continue;
            };
            let events = told.commits.into_iter().flat_map(|commit| commit.events);
            for event in events {
                self.see("heard", &event.record.expect("nothing is deleted"));
            }
        }
    }

    /// Does one operation. `None`: somebody else owns the record, or was faster; nothing has happened.
    fn call(&mut self, op: Op) -> Option<Done> {
        let outcome: Outcome = self.client.call(op, CallOptions::default());
        match outcome {
            Ok(reply) => Some(reply.kind),
            Err(error) => {
                self.refused(error);
                None
            }
        }
    }

    fn refused(&mut self, error: StoreError) {
        assert!(!error.maybe_applied, "{}: {error}", self.name);
        match error.reason() {
            Reason::NotOwner => self.note("not owned"),
            Reason::VersionConflict => {
                let current = error.current.expect("it is there");
                self.see("in conflict", &current);
            }
            _ => panic!("{}, of version {}: {error}", self.name, self.version),
        }
    }

    /// Looks at the form of a record; gives its number.
    fn see(&mut self, how: &'static str, record: &Record) -> i64 {
        self.note(how);
        form::number(self.version, record)
    }

    fn note(&mut self, what: &'static str) {
        *self.told.entry(what).or_default() += 1;
    }

    fn acknowledged(&mut self, number: u64, by: i64) {
        *self.added.entry(number).or_default() += by;
    }
}

impl fmt::Debug for Clerk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, version) = (&self.name, self.version);
        write!(f, "{name} of version {version} added {:?}", self.added)
    }
}

/// What they were told, and how often.
pub fn total(clerks: &[Clerk]) -> BTreeMap<&'static str, u64> {
    let mut total = BTreeMap::new();
    for (what, count) in clerks.iter().flat_map(|clerk| &clerk.told) {
        *total.entry(*what).or_default() += count;
    }
    total
}

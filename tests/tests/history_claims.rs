//! Sessions claim records, write and release them at the same time, while they are succeeded and the server is killed: what
//! they are told must be linearizable, a claim being a lock whose token grows with every owner.
//!
//! A client that is killed leaves an operation behind of which nobody knows whether it was done; its successor takes the
//! session over at once, claims and all. `STILLPOINT_HISTORY_SEED` plays the history with that seed again.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use stillpoint_client::{CallOptions, Client, Config, SessionConfig, v1};
use stillpoint_tests::{
    linearizability::{Call, Model, Verdict, check},
    server::{Server, Setup},
};
use v1::{Reason, op, op_result};

/// Histories, and calls of each.
const HISTORIES: u64 = 50;
const CALLS: usize = 2000;

const CLIENTS: usize = 6;
const KEYS: usize = 3;

/// Kills of the server in each history.
const KILLS: usize = 2;

/// Calls of the history that is spoilt.
const SPOILT_CALLS: usize = 60;

/// Calls that the checker may try: far more than it needs.
const STEPS_MAX: u64 = 2_000_000;

/// What a client asks for, each as the session of its number.
#[derive(Clone, Debug, PartialEq)]
enum Op {
    Claim {
        client: usize,
        key: usize,
        wait_ms: u32,
    },
    Release {
        client: usize,
        key: usize,
    },
    Put {
        client: usize,
        key: usize,
        value: u64,
    },
    Get {
        key: usize,
    },
}

impl Op {
    fn key(&self) -> usize {
        match *self {
            Op::Claim { key, .. } | Op::Release { key, .. } => key,
            Op::Put { key, .. } | Op::Get { key } => key,
        }
    }
}

/// What it is told.
#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Granted(u64),
    NotOwner,
    Released(bool),
    Put,
    Value(Option<u64>),
}

/// A record: its owner, the greatest token told of it, its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Record {
    owner: Option<usize>,
    token: u64,
    value: Option<u64>,
}

/// One record: what is done to others does not concern it, so each record's history is checked by itself.
struct Lock;

impl Model for Lock {
    type State = Record;
    type Op = Op;
    type Answer = Answer;

    fn initial(&self) -> Record {
        Record::default()
    }

    fn step(&self, state: &Record, op: &Op, answer: Option<&Answer>) -> Option<Record> {
        let mut record = state.clone();
        let fits = match *op {
            Op::Claim { client, .. } => {
                let is_new = record.owner.is_none();
                let is_free = is_new || record.owner == Some(client);
                if is_free {
                    record.owner = Some(client);
                }
                match answer {
                    Some(Answer::Granted(token)) => {
                        let grows = *token > record.token || !is_new && *token == record.token;
                        record.token = *token;
                        is_free && grows
                    }
                    Some(Answer::NotOwner) => !is_free,
                    Some(_) => false,
                    None => true,
                }
            }
            Op::Release { client, .. } => {
                let owned = record.owner == Some(client);
                if owned {
                    record.owner = None;
                }
                answer.is_none_or(|answer| *answer == Answer::Released(owned))
            }
            Op::Put { client, value, .. } => {
                let may = record.owner.is_none_or(|owner| owner == client);
                if may {
                    record.value = Some(value);
                }
                let right = if may { Answer::Put } else { Answer::NotOwner };
                answer.is_none_or(|answer| *answer == right)
            }
            Op::Get { .. } => answer.is_none_or(|answer| *answer == Answer::Value(record.value)),
        };
        fits.then_some(record)
    }
}

type History = Vec<Call<Op, Answer>>;

#[test]
fn histories_of_claims_are_linearizable() {
    let seed = std::env::var("STILLPOINT_HISTORY_SEED").ok();
    let (first, count) = match seed {
        Some(seed) => (
            seed.parse().expect("STILLPOINT_HISTORY_SEED is a number"),
            1,
        ),
        None => (rand::random::<u32>().into(), HISTORIES),
    };
    for seed in first..first + count {
        println!("STILLPOINT_HISTORY_SEED={seed}");
        let history = play(seed);
        let mut steps_of_all = 0;
        for key in 0..KEYS {
            let of_key = history.iter().filter(|call| call.op.key() == key);
            let of_key: History = of_key.cloned().collect();
            match check(&Lock, &of_key, STEPS_MAX) {
                Verdict::Linearizable { steps } => steps_of_all += steps,
                verdict => panic!("STILLPOINT_HISTORY_SEED={seed}: {verdict:?}"),
            }
            // The checker notices a token that does not grow.
            if seed == first {
                let verdict = check(&Lock, &with_an_old_token(of_key), STEPS_MAX);
                assert!(matches!(verdict, Verdict::Refused(_)), "{verdict:?}");
            }
        }
        let open = history.iter().filter(|call| call.answered.is_none());
        let (calls, open) = (history.len(), open.count());
        println!("{calls} calls, {open} unanswered, {steps_of_all} steps");
    }
}

/// The history in which the owner of a later claim is told the token of an earlier one.
fn with_an_old_token(mut history: History) -> History {
    history.sort_by_key(|call| call.invoked);
    // Short: that nothing explains it is found by trying everything.
    history.truncate(SPOILT_CALLS);
    let mut grants = history
        .iter_mut()
        .filter_map(|call| match &mut call.answered {
            Some((_, Answer::Granted(token))) => Some(token),
            _ => None,
        });
    let early = *grants.next().expect("somebody got it");
    *grants.last().expect("so did others") = early;
    history
}

/// Plays a history. The same seed makes the same choices.
fn play(seed: u64) -> History {
    let setup = Setup::new();
    let mut server = Some(setup.start());
    let url = server.as_ref().map(Server::url).expect("it runs");
    let (began, done) = (Instant::now(), AtomicUsize::new(0));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (url, done) = (&url, &done);
                scope.spawn(move || Player::new(url, seed, number, began).play(done))
            })
            .collect();
        for kill in 1..=KILLS {
            let at = CALLS * kill / (KILLS + 1);
            while done.load(Ordering::Relaxed) < at
                && !clients.iter().all(|client| client.is_finished())
            {
                thread::yield_now();
            }
            server.take().expect("it runs").kill();
            server = Some(setup.spawn());
        }
        let histories = clients
            .into_iter()
            .map(|client| client.join().expect("a client"));
        histories.flatten().collect()
    })
}

/// A client, and those who succeed it.
struct Player<'a> {
    url: &'a str,
    number: usize,
    random: StdRng,
    began: Instant,
    values: u64,
}

impl Player<'_> {
    fn new(url: &str, seed: u64, number: usize, began: Instant) -> Player<'_> {
        Player {
            url,
            number,
            random: StdRng::seed_from_u64(seed * CLIENTS as u64 + number as u64),
            began,
            values: 0,
        }
    }

    fn play(mut self, done: &AtomicUsize) -> History {
        let mut history = History::new();
        let mut client = self.connect();
        for _ in 0..CALLS / CLIENTS {
            let op = self.op();
            let is_last = self.random.random_ratio(1, 150);
            let invoked = self.now();
            let answered = match is_last {
                // Killed: what was sent may be done, or not.
                true => {
                    client.submit(encode(&op), options()).expect("it is queued");
                    client.poll(Duration::ZERO);
                    client = self.connect();
                    None
                }
                false => {
                    let answer = decode(client.call(encode(&op), options()));
                    Some((self.now(), answer))
                }
            };
            history.push(Call {
                op,
                invoked,
                answered,
            });
            done.fetch_add(1, Ordering::Relaxed);
        }
        history
    }

    /// As the successor of whoever was there before.
    fn connect(&self) -> Client {
        let mut config = Config::new(self.url, "claims");
        config.deadline = Duration::from_secs(60);
        config.connect_patience = Duration::from_secs(60);
        config.session = Some(SessionConfig {
            takeover: true,
            ttl: Duration::from_secs(600),
            ..SessionConfig::new("client", format!("c{}", self.number))
        });
        Client::connect(config).expect("the server comes back")
    }

    fn op(&mut self) -> Op {
        let (client, key) = (self.number, self.random.random_range(0..KEYS));
        match self.random.random_range(0..10) {
            0..3 => Op::Claim {
                client,
                key,
                wait_ms: [0, 0, 10][self.random.random_range(0..3)],
            },
            3..6 => Op::Release { client, key },
            6..9 => {
                self.values += 1;
                let value = self.values * CLIENTS as u64 + client as u64;
                Op::Put { client, key, value }
            }
            _ => Op::Get { key },
        }
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }
}

fn options() -> CallOptions {
    CallOptions::default()
}

fn encode(op: &Op) -> v1::Op {
    let key = op.key();
    let key = Some(v1::RecordKey {
        collection: "lock".into(),
        key: format!("k{key}").into_bytes().into(),
    });
    let kind = match *op {
        Op::Claim { wait_ms, .. } => op::Kind::Claim(v1::ClaimOp {
            key,
            wait_ms,
            ..Default::default()
        }),
        Op::Release { .. } => op::Kind::Release(v1::ReleaseOp { key }),
        Op::Put { value, .. } => {
            let mut bytes = Vec::new();
            rmpv::encode::write_value(&mut bytes, &value.into()).expect("a number");
            op::Kind::Put(v1::PutOp {
                key,
                value: bytes.into(),
                ..Default::default()
            })
        }
        Op::Get { .. } => op::Kind::Get(v1::GetOp {
            key,
            ..v1::GetOp::default()
        }),
    };
    v1::Op { kind: Some(kind) }
}

fn decode(outcome: stillpoint_client::Outcome) -> Answer {
    match outcome.map(|reply| reply.kind) {
        Ok(op_result::Kind::Claim(claim)) => Answer::Granted(claim.token),
        Ok(op_result::Kind::Release(release)) => Answer::Released(release.released),
        Ok(op_result::Kind::Put(_)) => Answer::Put,
        Ok(op_result::Kind::Get(get)) => Answer::Value(get.record.and_then(|record| {
            rmpv::decode::read_value(&mut &record.value[..])
                .expect("a value")
                .as_u64()
        })),
        Err(error) if error.reason() == Reason::NotOwner => Answer::NotOwner,
        other => panic!("{other:?}"),
    }
}

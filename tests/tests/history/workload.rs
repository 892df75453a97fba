//! Which operations a client chooses.

use rand::{Rng, rngs::StdRng, seq::index};

use crate::language::{Answer, Document, Guard, KEYS, Key, Op, Record, Step};

/// A client's choice, by chance and by what it has been told.
pub struct Workload {
    client: u64,
    /// Puts so far.
    puts: u64,
    /// The revision at which the client has last been shown each record; 0: it was missing.
    seen: [u64; KEYS as usize],
}

impl Workload {
    /// The choice of this client.
    pub fn new(client: u64) -> Self {
        Workload {
            client,
            puts: 0,
            seen: Default::default(),
        }
    }

    /// The next operation.
    pub fn next(&mut self, random: &mut StdRng) -> Op {
        let key = random.random_range(0..KEYS);
        match random.random_range(0..100) {
            0..25 => Op::One(Step::Get(key)),
            25..35 => {
                let keys = random.random_range(2..=KEYS.into());
                Op::BatchGet(some_keys(random, keys))
            }
            35..38 => Op::Scan,
            38..48 => Op::One(self.put(random, key, None)),
            48..66 => {
                let guard = self.guard(random, key);
                Op::One(self.put(random, key, Some(guard)))
            }
            66..69 => Op::One(Step::Delete { key, guard: None }),
            69..72 => Op::One(Step::Delete {
                key,
                guard: Some(self.guard(random, key)),
            }),
            72..86 => Op::One(Step::Add {
                key,
                delta: random.random_range(-50..50),
                min: random.random::<bool>().then_some(0),
            }),
            _ => self.transaction(random),
        }
    }

    /// Remembers what the client was told.
    pub fn learn(&mut self, op: &Op, answer: &Answer) {
        match (op, answer) {
            (_, Answer::Conflict { key, current }) => self.see(*key, current.as_ref()),
            (Op::One(step), answer) => self.learn_of(step, answer),
            (Op::BatchGet(keys), Answer::GotAll { records, .. }) => {
                for (key, record) in keys.iter().zip(records) {
                    self.see(*key, record.as_ref());
                }
            }
            (Op::Scan, Answer::GotAll { records, .. }) => {
                for (key, record) in (0..KEYS).zip(records) {
                    self.see(key, record.as_ref());
                }
            }
            (
                Op::Txn {
                    then, otherwise, ..
                },
                Answer::Done {
                    succeeded, results, ..
                },
            ) => {
                let steps = if *succeeded { then } else { otherwise };
                for (step, result) in steps.iter().zip(results) {
                    self.learn_of(step, result);
                }
            }
            _ => {}
        }
    }

    fn learn_of(&mut self, step: &Step, result: &Answer) {
        match result {
            Answer::Got(record) => self.see(step.key(), record.as_ref()),
            Answer::Added(record) => self.see(step.key(), Some(record)),
            Answer::Put { mod_rev, .. } => self.seen[usize::from(step.key())] = *mod_rev,
            Answer::Deleted { .. } => self.see(step.key(), None),
            _ => {}
        }
    }

    fn see(&mut self, key: Key, record: Option<&Record>) {
        self.seen[usize::from(key)] = record.map_or(0, |record| record.mod_rev);
    }

    fn put(&mut self, random: &mut StdRng, key: Key, guard: Option<Guard>) -> Step {
        self.puts += 1;
        let document = Document {
            n: random.random_range(0..100),
            tag: self.client << 32 | self.puts,
        };
        Step::Put {
            key,
            document,
            guard,
        }
    }

    /// What the client believes of a record.
    fn guard(&self, random: &mut StdRng, key: Key) -> Guard {
        let seen = self.seen[usize::from(key)];
        match random.random_ratio(1, 5) {
            true => Guard::Exists(seen != 0),
            false => Guard::ModRev(seen),
        }
    }

    /// One over two records.
    fn transaction(&mut self, random: &mut StdRng) -> Op {
        let keys = some_keys(random, 2);
        let (from, to) = (keys[0], keys[1]);
        let both = vec![Step::Get(from), Step::Get(to)];
        let add = |key, delta, min| Step::Add { key, delta, min };
        let mut guards = Vec::new();
        let mut otherwise = Vec::new();
        let then = match random.random_range(0..10) {
            0..3 => {
                let delta = random.random_range(1..40);
                vec![add(from, -delta, Some(0)), add(to, delta, None)]
            }
            3..7 => {
                guards.extend([from, to].map(|key| (key, self.guard(random, key))));
                if random.random() {
                    otherwise = both;
                }
                vec![self.put(random, from, None), self.put(random, to, None)]
            }
            7 => both,
            8 => vec![Step::Get(from), self.put(random, to, None)],
            _ => vec![
                self.put(random, from, None),
                Step::Delete {
                    key: to,
                    guard: None,
                },
            ],
        };
        Op::Txn {
            guards,
            then,
            otherwise,
        }
    }
}

/// Different keys.
fn some_keys(random: &mut StdRng, count: usize) -> Vec<Key> {
    let keys = index::sample(random, KEYS.into(), count);
    keys.into_iter().map(|key| key as Key).collect()
}

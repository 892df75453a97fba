//! A trader: one identity, and the processes that have it one after the other.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Stdio},
    thread,
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    gaps::{self, Gap},
    lua,
};

/// How long a trader waits for the store, in seconds.
const PATIENCE: &str = "30";

/// A trader, and what it has said.
pub struct Trader {
    name: String,
    url: String,
    traders: usize,
    random: StdRng,
    journal: BTreeMap<String, Outcome>,
    gaps: Vec<Gap>,
    /// Of the last process that held the session.
    fence: u64,
    /// Of the process before, if it was there long enough for one: when it came.
    last_answer: Option<f64>,
}

/// What is known of a trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It may have happened.
    Started,
    /// The store said that it has not. A successor may have repeated it.
    Refused,
    /// The store said that it has.
    Done,
}

impl Trader {
    /// The trader of this number, from 1.
    pub fn new(url: &str, number: usize, traders: usize, seed: u64) -> Trader {
        Trader {
            name: format!("t{number}"),
            url: url.into(),
            traders,
            random: StdRng::seed_from_u64(seed.wrapping_add(number as u64)),
            journal: BTreeMap::new(),
            gaps: Vec::new(),
            fence: 0,
            last_answer: None,
        }
    }

    /// Its trades, by id.
    pub fn journal(&self) -> &BTreeMap<String, Outcome> {
        &self.journal
    }

    /// The gaps between its processes.
    pub fn gaps(&self) -> impl Iterator<Item = Gap> {
        self.gaps.iter().copied()
    }

    /// Starts a process and kills it: as it starts, or in the middle of its trades.
    pub fn live_and_die(&mut self) {
        let mut life = self.start(&[]);
        if self.random.random_ratio(1, 8) {
            // A random moment of the start, not a wait for anything.
            thread::sleep(Duration::from_micros(self.random.random_range(0..60_000)));
        } else {
            let trades = self.random.random_range(1..12);
            while life.trades < trades {
                assert!(
                    self.hear(&mut life),
                    "{}: a process ended by itself",
                    self.name
                );
            }
            // A random moment of the next trade.
            thread::sleep(Duration::from_micros(self.random.random_range(0..3000)));
        }
        let ended = life.process.0.try_wait().expect("it is our child");
        assert_eq!(ended, None, "{}: a process ended by itself", self.name);
        life.process.0.kill().expect("it can be killed");
        while self.hear(&mut life) {}
        self.last_answer = life.last_answer;
    }

    /// Starts a process that repeats what was cut off, and ends.
    pub fn settle(&mut self) {
        let mut life = self.start(&["settle"]);
        while self.hear(&mut life) {}
        let status = life.process.0.wait().expect("it is our child");
        assert!(status.success(), "{}: {status}", self.name);
    }

    fn start(&mut self, how: &[&str]) -> Life {
        let ordered = gaps::now();
        let mut process = lua("trader.lua")
            .args([&self.url, &self.name, &self.traders.to_string()])
            .args([&self.random.random::<u32>().to_string(), PATIENCE])
            .args(how)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stdout = process.stdout.take().expect("it has a stdout");
        Life {
            process: Process(process),
            lines: BufReader::new(stdout).lines(),
            ordered,
            began: ordered,
            trades: 0,
            last_answer: None,
        }
    }

    /// Reads a line of the process; false: there is none any more.
    fn hear(&mut self, life: &mut Life) -> bool {
        let Some(line) = life.lines.next().transpose().expect("it can be read") else {
            return false;
        };
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["begin", at] => life.began = number(at),
            ["open", fence, succeeded] => {
                let fence = fence.parse().expect("a fence");
                assert!(
                    fence > self.fence && (self.fence == 0 || succeeded == "true"),
                    "{}: {line:?} after fence {}",
                    self.name,
                    self.fence
                );
                self.fence = fence;
            }
            ["start", id] => {
                self.journal.entry(id.into()).or_insert(Outcome::Started);
            }
            ["refused", id] => {
                self.note(id, Outcome::Refused);
                // An answer, too: whoever is poor must not wait for gold from those who have ended.
                life.trades += 1;
            }
            ["done", id, at] => {
                self.note(id, Outcome::Done);
                self.answered(life, number(at));
            }
            _ => panic!("{}: it said {line:?}", self.name),
        }
        true
    }

    fn note(&mut self, id: &str, outcome: Outcome) {
        let before = self.journal.insert(id.into(), outcome);
        let name = &self.name;
        assert!(
            before.is_some(),
            "{name}: {id} is {outcome:?} and was not started"
        );
        // That it was refused first is fine: the answer may not have reached the desk.
        assert!(
            before != Some(Outcome::Done) || outcome == Outcome::Done,
            "{name}: {id} was done, and repeated it is {outcome:?}"
        );
    }

    fn answered(&mut self, life: &mut Life, at: f64) {
        life.trades += 1;
        life.last_answer = Some(at);
        if let Some(before) = self.last_answer.take() {
            self.gaps.push(Gap {
                answers: at - before,
                start: life.began - life.ordered,
            });
        }
    }
}

/// One process of a trader.
struct Life {
    process: Process,
    lines: Lines<BufReader<ChildStdout>>,
    /// When we ordered it to start.
    ordered: f64,
    /// When its script began.
    began: f64,
    trades: u32,
    last_answer: Option<f64>,
}

/// A child process, killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn number(text: &str) -> f64 {
    text.parse().expect("a number")
}

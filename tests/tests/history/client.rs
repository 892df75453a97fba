//! A client: a process of its own, so that it can be killed. It does one operation after the other, and says what it
//! does on its standard output: a line before each operation, and one with its answer. A pipe outlives its writer, so
//! whoever reads it knows exactly which operation was under way when the process died.

use std::{
    env,
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use stillpoint_client::{CallOptions, Client, Config, v1::Durability};

use crate::{
    language::{Op, Told},
    wire,
    workload::Workload,
};

/// Where a process finds its [`Task`].
pub const TASK: &str = "STILLPOINT_HISTORY_TASK";

/// What a client shall do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Task {
    /// Where the server is.
    pub url: String,
    /// The history's namespace.
    pub namespace: String,
    /// Number of the client, another one in each process of a history. From 1.
    pub client: u64,
    /// What the choice of operations begins from.
    pub seed: u64,
    /// How many operations.
    pub operations: usize,
}

/// A line of a client.
#[derive(Debug, Serialize, Deserialize)]
pub enum Line {
    /// An operation is about to be sent.
    Invoked { at: u64, op: Op },
    /// Its answer has come.
    Answered { at: u64, told: Told },
}

/// Longer than any server is away.
const DEADLINE: Duration = Duration::from_secs(60);

/// Does the environment's task.
pub fn run() {
    let task = env::var(TASK).expect("a client's process has a task");
    let task: Task = serde_json::from_str(&task).expect("it was written by this program");
    let config = Config {
        deadline: DEADLINE,
        connect_patience: DEADLINE,
        ..Config::new(task.url, task.namespace)
    };
    let client = Client::connect(config).expect("the server comes back");
    let mut random = StdRng::seed_from_u64(task.seed);
    let mut workload = Workload::new(task.client);
    let mut said = Said::new();
    for _ in 0..task.operations {
        let op = workload.next(&mut random);
        let durability = match random.random_ratio(1, 4) {
            true => Durability::Applied,
            false => Durability::Synced,
        };
        let options = CallOptions {
            durability,
            ..CallOptions::default()
        };
        let encoded = wire::encode(&op);
        said.line(&Line::Invoked {
            at: now(),
            op: op.clone(),
        });
        let outcome = client.call(encoded, options);
        let at = now();
        let told = wire::decode(outcome);
        workload.learn(&op, &told.answer);
        said.line(&Line::Answered { at, told });
    }
}

/// The machine's clock, the same for all processes, in nanoseconds.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The standard output without a buffer: what was said is said.
struct Said(File);

impl Said {
    fn new() -> Self {
        let owned = io::stdout().as_fd().try_clone_to_owned();
        let mut said = Said(owned.expect("the standard output is open").into());
        // The test's harness has begun a line.
        said.write(b"\n");
        said
    }

    fn line(&mut self, line: &Line) {
        let mut bytes = serde_json::to_vec(line).expect("lines can be written");
        bytes.push(b'\n');
        self.write(&bytes);
    }

    fn write(&mut self, bytes: &[u8]) {
        // In one piece: a line is far shorter than what a pipe takes at once.
        self.0.write_all(bytes).expect("somebody reads");
    }
}

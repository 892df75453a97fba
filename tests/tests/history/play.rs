//! One history: clients in processes of their own work on one namespace, while they and their server are killed.

use std::ops::RangeInclusive;

use rand::{Rng, SeedableRng, rngs::StdRng};
use stillpoint_client::CallOptions;
use stillpoint_tests::server::{Server, Setup};

use crate::{
    client,
    language::{Call, Op},
    process::{Crew, Process},
    wire,
};

/// Clients at a time.
const CLIENTS: RangeInclusive<usize> = 5..=8;

/// How often a history's server is killed, and how often one of its clients.
const KILLS: RangeInclusive<usize> = 2..=3;

/// A store for one history after the other.
pub struct Stage {
    setup: Setup,
    server: Option<Server>,
}

/// Who is killed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Server,
    Client,
}

impl Stage {
    /// A fresh store, which is started with the first history.
    pub fn new(engine: &str) -> Self {
        // Small sizes, so that rotation, checkpoints and retention happen all the time.
        let flags = [
            "--segment-bytes=65536",
            "--checkpoint-bytes=262144",
            "--retention-bytes=1048576",
            "--retention-secs=1",
            "--overlay-bytes=65536",
            "--cache-bytes=16777216",
            "--dedup-window-secs=20",
        ];
        let setup = flags.into_iter().fold(Setup::new(), Setup::flag);
        Stage {
            setup: setup.flag(format!("--engine={engine}")),
            server: None,
        }
    }

    /// Plays a history. The same seed makes the same choices.
    pub fn play(&mut self, seed: u64, operations: usize) -> Vec<Call> {
        let mut random = StdRng::seed_from_u64(seed);
        let namespace = format!("history-{seed}");
        let clients = random.random_range(CLIENTS);
        let mut kills = Vec::new();
        for victim in [Victim::Server, Victim::Client] {
            let count = random.random_range(KILLS);
            kills.extend((0..count).map(|_| (random.random_range(0..operations), victim)));
        }
        kills.sort();
        let mut crew = Crew::new(self.server().url(), &namespace);
        let mut running: Vec<Process> = (0..clients)
            .map(|i| {
                let share = operations / clients + usize::from(i < operations % clients);
                crew.start(random.random(), share)
            })
            .collect();
        let mut calls = Vec::new();
        for (at, victim) in kills {
            crew.wait_for_answers(at);
            match victim {
                Victim::Server => {
                    self.server.take().expect("it runs").kill();
                    self.server();
                }
                Victim::Client => {
                    let index = random.random_range(0..running.len());
                    let (said, left) = running.swap_remove(index).kill();
                    calls.extend(said);
                    running.push(crew.start(random.random(), left));
                }
            }
        }
        calls.extend(running.into_iter().flat_map(Process::finish));
        calls.push(self.last_look(&namespace));
        calls
    }

    /// What is there in the end.
    fn last_look(&mut self, namespace: &str) -> Call {
        let client = self.server().client(namespace);
        let invoked = client::now();
        let outcome = client.call(wire::encode(&Op::Scan), CallOptions::default());
        let answered = (client::now(), wire::decode(outcome));
        Call {
            op: Op::Scan,
            invoked,
            answered: Some(answered),
        }
    }

    fn server(&mut self) -> &Server {
        self.server.get_or_insert_with(|| self.setup.start())
    }
}

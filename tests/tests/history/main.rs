//! Clients read, write with guards, patch and transact at the same time, while they and the server are killed: what they
//! are told must be linearizable.
//!
//! Each history is the work of 5 to 8 clients, processes of their own, on the five records of a namespace. At random
//! points a client is killed and replaced, which leaves an operation of which nobody knows whether it was done; at others
//! the server is killed and started again, and the clients repeat by themselves what they have no answer for. What was
//! sent and answered, and when, is then compared with a [model](model) of the store by the
//! [checker](stillpoint_tests::linearizability). Answers tell revisions and versions, too, so that a write done twice, or
//! late, or lost does not hide.
//!
//! `STILLPOINT_HISTORY_SEED` plays the one history with that seed again (the same choices, and the same moments of the
//! kills as far as the machine allows); `STILLPOINT_HISTORIES` sets how many are played.

mod client;
mod language;
mod model;
mod play;
mod process;
mod spoil;
mod verdict;
mod wire;
mod workload;

use std::{env, thread};

use play::Stage;

/// Histories, unless the environment says otherwise.
const HISTORIES: u64 = 100;

/// Operations of a history.
const OPERATIONS: usize = 2000;

const ENGINES: [&str; 2] = ["sled", "memory"];

#[test]
fn every_history_is_linearizable() {
    if let Some(seed) = from_env("STILLPOINT_HISTORY_SEED") {
        return play(&mut Stage::new(engine_of(seed)), seed);
    }
    let count = from_env("STILLPOINT_HISTORIES").unwrap_or(HISTORIES);
    let first: u64 = rand::random::<u32>().into();
    // A store per engine, each with every second seed.
    thread::scope(|scope| {
        for at in 0..ENGINES.len() as u64 {
            scope.spawn(move || {
                let seeds = (first..first + count)
                    .skip(at as usize)
                    .step_by(ENGINES.len());
                let mut stage = Stage::new(engine_of(first + at));
                seeds.for_each(|seed| play(&mut stage, seed));
            });
        }
    });
}

#[test]
fn a_history_with_a_wrong_answer_is_refused() {
    let seed = from_env("STILLPOINT_HISTORY_SEED").unwrap_or_else(|| rand::random::<u32>().into());
    println!("STILLPOINT_HISTORY_SEED={seed}");
    let calls = Stage::new(engine_of(seed)).play(seed, 400);
    verdict::accept(seed, &calls);
    for (what, wrong) in spoil::each_way(seed, &calls) {
        verdict::refuse(seed, what, &wrong);
    }
}

/// Not a test: what the others run as a client.
#[test]
#[ignore = "a client's process, started by the other tests"]
fn client_process() {
    client::run();
}

fn play(stage: &mut Stage, seed: u64) {
    let calls = stage.play(seed, OPERATIONS);
    verdict::accept(seed, &calls);
}

fn engine_of(seed: u64) -> &'static str {
    ENGINES[(seed % ENGINES.len() as u64) as usize]
}

fn from_env(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

//! The server is killed again and again, at any moment, under load: every acknowledged commit must be there afterwards,
//! exactly once and whole.
//!
//! Each cycle starts the server on the same directory, lets workers write through pipelined clients until a random number
//! of answers has come, and kills it. Some kills hit the start, some come right behind a checkpoint, some are SIGTERM.
//! After the next start
//!
//! 1. a fresh client finds every counter between what was acknowledged and what was sent, and no transfer half done;
//! 2. the workers' clients, which repeat by themselves what they have no answer for, get all their answers, and then
//!    everything must be there *exactly*: counters, versions, last values.
//!
//! `STILLPOINT_TEST_SEED` repeats a run (the moments of the kills as far as the machine allows), and
//! `STILLPOINT_TEST_KILLS` sets how many cycles each engine gets.

mod worker;

use std::{
    env, thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use rand::{Rng, SeedableRng, rngs::StdRng};
use stillpoint_tests::server::{Server, Setup};

use worker::Worker;

/// Cycles per engine, unless the environment says otherwise.
const KILLS: u32 = 110;

const WORKERS: usize = 3;

/// A write has half of it to be repeated.
const DEDUP_WINDOW: Duration = Duration::from_secs(20);

#[test]
fn every_acknowledged_commit_outlives_kill_9_with_sled() {
    kill_again_and_again("sled");
}

#[test]
fn every_acknowledged_commit_outlives_kill_9_with_the_memory_engine() {
    kill_again_and_again("memory");
}

fn kill_again_and_again(engine: &str) {
    let seed = from_env("STILLPOINT_TEST_SEED").unwrap_or_else(rand::random::<u32>);
    let kills = from_env("STILLPOINT_TEST_KILLS").unwrap_or(KILLS);
    println!("STILLPOINT_TEST_SEED={seed} STILLPOINT_TEST_KILLS={kills} engine={engine}");
    let mut random = StdRng::seed_from_u64(seed.into());
    let setup = setup(engine);
    let mut server = setup.start();
    let mut workers: Vec<Worker> = (0..WORKERS)
        .map(|i| Worker::connect(&server.url(), i, random.random()))
        .collect();
    let mut seen = Seen::default();
    let started = Instant::now();
    for kill in 0..kills {
        let end = End::random(&mut random);
        let answers = Answers::default();
        thread::scope(|scope| {
            for worker in &mut workers {
                scope.spawn(|| worker.load(&answers));
            }
            end.wait_for(&server, &answers, &mut random);
            seen.look(&server);
            if end == End::Terminate {
                let status = server.terminate();
                assert!(
                    status.success(),
                    "cycle {kill}: SIGTERM ended it with {status}"
                );
            } else {
                server.kill();
            }
            answers.stop();
        });
        if random.random_ratio(1, 6) {
            let starting = setup.spawn();
            // A random moment of the start, not a wait for anything.
            thread::sleep(Duration::from_micros(random.random_range(0..60_000)));
            starting.kill();
        }
        server = setup.start();
        check_bounds(&server, &workers, kill);
        thread::scope(|scope| {
            for worker in &mut workers {
                scope.spawn(|| worker.settle());
            }
        });
        check_exact(&server, &workers, kill);
    }
    let acknowledged: u64 = workers.iter().map(|w| w.acknowledged()).sum();
    println!("{engine}: {kills} kills, {acknowledged} acknowledged writes, {seen:?}");
    assert!(seen.segments > 2, "the log was never rotated: {seen:?}");
    assert!(
        seen.checkpoints > 0 || kills < 20,
        "no checkpoint was taken: {seen:?}"
    );
    // Nothing goes that the dedup window may need.
    let trimmed = seen.trimmed || started.elapsed() < 2 * DEDUP_WINDOW;
    assert!(trimmed, "no old segment was removed: {seen:?}");
    assert!(server.terminate().success());
}

/// Small sizes, so that rotation, checkpoints and retention happen all the time.
fn setup(engine: &str) -> Setup {
    [
        "--segment-bytes=65536",
        "--checkpoint-bytes=262144",
        "--retention-bytes=1048576",
        "--retention-secs=1",
        "--overlay-bytes=65536",
        "--cache-bytes=16777216",
    ]
    .into_iter()
    .fold(Setup::new(), Setup::flag)
    .flag(format!("--dedup-window-secs={}", DEDUP_WINDOW.as_secs()))
    .flag(format!("--engine={engine}"))
}

/// How a cycle ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// SIGKILL after this many answers.
    KillAfter(u64),
    /// SIGKILL some answers behind the next checkpoint.
    KillBehindCheckpoint,
    /// SIGTERM after some answers.
    Terminate,
}

impl End {
    fn random(random: &mut StdRng) -> End {
        match random.random_range(0..20) {
            0 => End::Terminate,
            1 => End::KillBehindCheckpoint,
            2..5 => End::KillAfter(random.random_range(0..10)),
            _ => End::KillAfter(random.random_range(0..3000)),
        }
    }

    fn wait_for(self, server: &Server, answers: &Answers, random: &mut StdRng) {
        let count = match self {
            End::KillAfter(count) => count,
            End::Terminate => random.random_range(0..2000),
            End::KillBehindCheckpoint => {
                wait_for_checkpoint(server, answers) + random.random_range(0..300)
            }
        };
        answers.wait_for(count);
    }
}

/// Waits until the store has taken a checkpoint; gives how many answers had come by then.
fn wait_for_checkpoint(server: &Server, answers: &Answers) -> u64 {
    let mut admin = server.admin();
    let mut checkpoint = || admin.status().unwrap().log.unwrap().checkpoint_seq;
    let (before, patience) = (checkpoint(), Instant::now() + Duration::from_secs(60));
    let mut count = 0;
    while checkpoint() == before {
        assert!(Instant::now() < patience, "no checkpoint in a minute");
        count = answers.wait_for(count + 100);
    }
    count
}

/// What happened in the store while it was killed.
#[derive(Debug, Default)]
struct Seen {
    /// Most segments at a time.
    segments: u64,
    /// Checkpoints.
    checkpoints: u64,
    /// Whether old segments were removed.
    trimmed: bool,
    newest_checkpoint: u64,
}

impl Seen {
    fn look(&mut self, server: &Server) {
        let log = server.admin().status().unwrap().log.unwrap();
        self.segments = self.segments.max(log.segments);
        self.checkpoints += u64::from(log.checkpoint_seq > self.newest_checkpoint);
        self.newest_checkpoint = log.checkpoint_seq;
        self.trimmed |= log.first_seq > 1;
    }
}

/// How many answers have come in this cycle, and whether it is over.
#[derive(Debug, Default)]
pub struct Answers {
    state: Mutex<AnswerState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct AnswerState {
    count: u64,
    over: bool,
}

impl Answers {
    /// More answers have come; whether the cycle is over.
    pub fn add(&self, count: u64) -> bool {
        let mut state = self.state.lock();
        state.count += count;
        self.changed.notify_all();
        state.over
    }

    /// Waits until that many have come, or a worker has failed; gives how many they are.
    fn wait_for(&self, count: u64) -> u64 {
        let mut state = self.state.lock();
        self.changed
            .wait_while(&mut state, |state| state.count < count && !state.over);
        state.count
    }

    /// Ends the cycle.
    pub fn stop(&self) {
        self.state.lock().over = true;
        self.changed.notify_all();
    }
}

/// What a fresh client finds, while the workers' clients may be repeating already.
fn check_bounds(server: &Server, workers: &[Worker], kill: u32) {
    let client = server.client("world");
    for worker in workers {
        worker.check_bounds(&client, kill);
    }
    let acknowledged = workers.iter().map(|w| w.plan().shared_acknowledged).sum();
    let sent = workers.iter().map(|w| w.plan().shared_sent).sum();
    let shared = worker::counter(&client, worker::SHARED);
    assert!(
        (acknowledged..=sent).contains(&shared),
        "cycle {kill}: the shared counter is {shared}; {acknowledged} acknowledged, {sent} sent"
    );
    client.close(Duration::from_secs(10)).unwrap();
}

/// What must hold once every write has its answer.
fn check_exact(server: &Server, workers: &[Worker], kill: u32) {
    let client = server.client("world");
    for worker in workers {
        worker.check_exact(&client, kill);
    }
    let acknowledged: i64 = workers.iter().map(|w| w.plan().shared_acknowledged).sum();
    assert_eq!(
        worker::counter(&client, worker::SHARED),
        acknowledged,
        "cycle {kill}: the shared counter"
    );
    client.close(Duration::from_secs(10)).unwrap();
}

fn from_env(name: &str) -> Option<u32> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

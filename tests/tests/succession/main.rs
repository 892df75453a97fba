//! A storm of successions: traders that give gold to each other, each killed with SIGKILL again and again and succeeded by
//! another process of the same identity.
//!
//! A trader is `trader.lua`, in the built-in Lua, with a session. A trade that a kill has cut off is repeated by the
//! successor, with the token that its predecessor left on the desk. In the end
//!
//! 1. the gold is what it was in the beginning, and every purse is what the trades make it;
//! 2. every trade that was acknowledged is there once, and no other is: each that was begun has been brought to an end by
//!    somebody;
//! 3. every process has succeeded the one before, with a greater fence.
//!
//! The gaps in service are printed, never judged: they are the machine's as much as the store's.
//!
//! `STILLPOINT_TEST_SEED` repeats the random choices, and `STILLPOINT_TEST_RESTARTS` sets how often each trader is
//! restarted.

mod audit;
mod gaps;
mod trader;

use std::{
    env,
    path::PathBuf,
    process::Command,
    str::FromStr,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use stillpoint_tests::{
    lua_modules::root,
    server::{Setup, program},
};

use gaps::Gaps;
use trader::Trader;

/// Traders at a time.
const TRADERS: usize = 20;

/// Restarts of each, unless the environment says otherwise.
const RESTARTS: u32 = 50;

/// The same where the store is killed, too, which each time holds up everybody.
const RESTARTS_WITH_STORE_KILLS: u32 = 10;

#[test]
fn traders_that_are_killed_are_succeeded_and_every_trade_happens_once() {
    let server = Setup::new().start();
    let mut storm = Storm::new(server.url(), RESTARTS);
    storm.run(|_| {});
    storm.check();
    assert!(server.terminate().success());
}

#[test]
fn so_they_are_while_the_store_is_killed_too() {
    let setup = Setup::new();
    let server = setup.start();
    let mut storm = Storm::new(server.url(), RESTARTS_WITH_STORE_KILLS);
    let mut server = Some(server);
    let mut random = StdRng::seed_from_u64(storm.seed);
    let mut kills = 0;
    storm.run(|goes_on| {
        while goes_on() {
            // A random moment, not a wait for anything.
            thread::sleep(Duration::from_millis(random.random_range(500..2500)));
            if let Some(server) = server.take() {
                server.kill();
            }
            server = Some(setup.spawn());
            kills += 1;
        }
    });
    println!("the store was killed {kills} times");
    storm.check();
    assert!(server.is_some_and(|server| server.terminate().success()));
}

/// The traders, and where they trade.
struct Storm {
    url: String,
    seed: u64,
    restarts: u32,
    traders: Vec<Trader>,
}

impl Storm {
    /// Fills the purses.
    fn new(url: String, restarts: u32) -> Storm {
        let seed = from_env("STILLPOINT_TEST_SEED").unwrap_or_else(|| rand::random::<u32>().into());
        let restarts = from_env("STILLPOINT_TEST_RESTARTS").unwrap_or(restarts);
        println!("STILLPOINT_TEST_SEED={seed} STILLPOINT_TEST_RESTARTS={restarts}");
        audit::open_bank(&url, TRADERS);
        let traders = (1..=TRADERS)
            .map(|number| Trader::new(&url, number, TRADERS, seed))
            .collect();
        Storm {
            url,
            seed,
            restarts,
            traders,
        }
    }

    /// Has all traders live and die, and does something else beside; that is told whether they still do.
    fn run(&mut self, beside: impl FnOnce(&dyn Fn() -> bool)) {
        let (restarts, running) = (self.restarts, AtomicUsize::new(self.traders.len()));
        let began = Instant::now();
        thread::scope(|scope| {
            for trader in &mut self.traders {
                let running = Leaves(&running);
                scope.spawn(move || {
                    let _leaves_in_the_end = running;
                    for _ in 0..restarts {
                        trader.live_and_die();
                    }
                    trader.settle();
                });
            }
            beside(&|| running.load(Ordering::Relaxed) > 0);
        });
        println!("{:.1} s", began.elapsed().as_secs_f64());
    }

    /// Prints the gaps, and looks whether everything is as it must be.
    fn check(&self) {
        let gaps: Gaps = self.traders.iter().flat_map(Trader::gaps).collect();
        println!("{gaps}");
        audit::check(&self.url, &self.traders);
    }
}

/// Counts a thread's end, also where that is a panic.
struct Leaves<'a>(&'a AtomicUsize);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A script of this test in the built-in Lua.
fn lua(script: &str) -> Command {
    let mut command = Command::new(program());
    command.arg("lua").arg(folder().join(script));
    command
}

fn folder() -> PathBuf {
    root().join("tests/tests/succession")
}

fn from_env<T: FromStr>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    let number = text.parse().ok();
    assert!(number.is_some(), "{name} is no number: {text}");
    number
}

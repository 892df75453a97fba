//! The busy minute: the game is played, and everybody is killed at random.

use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use indicatif::{HumanCount, ProgressBar};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    directory::Directory, journals::Journals, store::Store, successions::Successions,
    workers::Workers,
};
use crate::{failure::Failure, interrupt::Interrupt, progress};

/// How often we look around; a pause is known as exactly as this.
const TICK: Duration = Duration::from_millis(10);

/// How often the progress line is drawn on a terminal, and printed elsewhere.
const REDRAW: Duration = Duration::from_millis(100);
const REPRINT: Duration = Duration::from_secs(2);

/// The time between two kills of a worker, in milliseconds.
const WORKER_LIFE_MS: std::ops::Range<u64> = 100..600;

/// What is to be done.
#[derive(Debug)]
pub struct Plan {
    /// How long processes are killed.
    pub time: Duration,
    /// How many logic processes there are.
    pub workers: u32,
    /// Of all random choices.
    pub seed: u64,
    /// Whether the store is killed too.
    pub kills_store: bool,
    /// No progress line.
    pub is_quiet: bool,
}

/// What has happened.
#[derive(Clone, Debug, Default)]
pub struct Toll {
    /// How long it went.
    pub time: Duration,
    /// Trades acknowledged.
    pub trades: u64,
    /// Logic processes killed.
    pub worker_kills: u64,
    /// How logic processes were succeeded by others.
    pub successions: Successions,
    /// Logic processes that ended with an error, which none should.
    pub worker_failures: u64,
    /// Kills of the store.
    pub store_kills: u64,
    /// Longest time without an acknowledged trade.
    pub longest_pause: Duration,
}

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victims {
    /// Nobody.
    Nobody,
    /// Logic processes.
    Workers,
    /// Logic processes and, if that was planned, the store.
    Everybody,
}

impl Toll {
    fn line(&self) -> String {
        let seconds = self.time.as_secs_f64();
        format!(
            "{seconds:5.0} s  {} trades  {}/s  workers killed {}, restarted {}  store killed {}  longest pause {:.2} s",
            HumanCount(self.trades),
            HumanCount((self.trades as f64 / seconds.max(0.001)) as u64),
            self.worker_kills,
            self.successions.counts().0,
            self.store_kills,
            self.longest_pause.as_secs_f64(),
        )
    }
}

/// Kills, and keeps the toll.
pub struct Chaos<'a> {
    plan: &'a Plan,
    interrupt: &'a Interrupt,
    journals: Journals,
    random: StdRng,
    toll: Toll,
    act: Act,
}

/// What is known of the act that is going on.
struct Act {
    line: Line,
    /// When we last heard of a trade.
    traded_at: Instant,
    longest_pause: Duration,
}

impl Act {
    fn begin(plan: &Plan) -> Self {
        Act {
            line: Line::new(plan.is_quiet),
            traded_at: Instant::now(),
            longest_pause: Duration::ZERO,
        }
    }
}

impl<'a> Chaos<'a> {
    /// Nothing has happened yet; the first act begins.
    pub fn new(plan: &'a Plan, directory: &Directory, interrupt: &'a Interrupt) -> Self {
        Chaos {
            plan,
            interrupt,
            journals: Journals::new(plan, directory),
            random: StdRng::seed_from_u64(plan.seed),
            toll: Toll::default(),
            act: Act::begin(plan),
        }
    }

    /// Kills as planned.
    pub fn run(&mut self, store: &mut Store<'_>, workers: &mut Workers<'_>) -> Result<(), Failure> {
        self.watch_for(self.plan.time, store, workers, Victims::Everybody)?;
        self.end_act();
        Ok(())
    }

    /// Sees that all workers are there to stay.
    pub fn settle(&mut self, workers: &mut Workers<'_>) -> Result<(), Failure> {
        self.toll.worker_kills += workers.settle()?;
        Ok(())
    }

    /// Lets the game be played for a while, and kills nobody; gives the longest pause in it.
    pub fn rest(
        &mut self,
        store: &mut Store<'_>,
        workers: &mut Workers<'_>,
        time: Duration,
    ) -> Result<Duration, Failure> {
        self.begin_act();
        self.watch_for(time, store, workers, Victims::Nobody)?;
        Ok(self.end_act())
    }

    /// From now on pauses are counted for another act.
    pub fn begin_act(&mut self) {
        self.act = Act::begin(self.plan);
    }

    /// Gives the longest pause in the act.
    pub fn end_act(&mut self) -> Duration {
        self.act.line.end(&self.toll);
        self.act.longest_pause
    }

    /// Lets the game be played for a while, as part of an act.
    pub fn watch_for(
        &mut self,
        time: Duration,
        store: &mut Store<'_>,
        workers: &mut Workers<'_>,
        victims: Victims,
    ) -> Result<(), Failure> {
        let ends = Instant::now() + time;
        self.watch(store, workers, victims, |_| Ok(Instant::now() >= ends))
    }

    /// Lets the game be played until `is_over`, as part of an act. That is told how many trades each worker has done.
    pub fn watch(
        &mut self,
        store: &mut Store<'_>,
        workers: &mut Workers<'_>,
        victims: Victims,
        mut is_over: impl FnMut(&[u64]) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let (began, before) = (Instant::now(), self.toll.time);
        let mut worker_dies_at = began + self.worker_life();
        let mut store_dies_at = began + self.store_life();
        while !is_over(&self.journals.trades())? {
            self.interrupt.pause(TICK)?;
            let now = Instant::now();
            if now >= worker_dies_at && victims != Victims::Nobody {
                let number = self.random.random_range(0..self.plan.workers as usize);
                self.toll.worker_kills += u64::from(workers.kill_and_restart(number)?);
                worker_dies_at = now + self.worker_life();
            }
            if now >= store_dies_at && victims == Victims::Everybody {
                self.kill_store_as_planned(store)?;
                store_dies_at = now + self.store_life();
            }
            store.see_that_it_runs()?;
            workers.restart_ended()?;

            let trades = self.journals.read_new(&mut self.toll.successions)?;
            self.toll.trades += trades;
            let pause = self.act.traded_at.elapsed();
            self.act.longest_pause = self.act.longest_pause.max(pause);
            self.toll.longest_pause = self.toll.longest_pause.max(pause);
            if trades > 0 {
                self.act.traded_at = Instant::now();
            }
            self.toll.time = before + began.elapsed();
            self.act.line.show(&self.toll);
        }
        Ok(())
    }

    /// Kills the store and starts it again; does nothing if that was not planned.
    pub fn kill_store_as_planned(&mut self, store: &mut Store<'_>) -> Result<(), Failure> {
        if self.plan.kills_store {
            store.kill()?;
            store.start_at_once()?;
            self.toll.store_kills += 1;
        }
        Ok(())
    }

    /// What it came to, once the workers have ended: with those who became successors while nobody was killed any more.
    pub fn toll(mut self, workers: &Workers<'_>) -> Result<Toll, Failure> {
        self.journals.read_new(&mut self.toll.successions)?;
        self.toll.worker_failures = workers.failures;
        Ok(self.toll)
    }

    fn worker_life(&mut self) -> Duration {
        Duration::from_millis(self.random.random_range(WORKER_LIFE_MS))
    }

    /// A few lives within the time there is, but no longer than ten seconds.
    fn store_life(&mut self) -> Duration {
        let share = self.random.random_range(0.12..0.25);
        self.plan.time.mul_f64(share).min(Duration::from_secs(10))
    }
}

/// The progress line: redrawn on a terminal, else printed now and then.
struct Line {
    bar: Option<ProgressBar>,
    is_quiet: bool,
    next: Instant,
    printed: String,
}

impl Line {
    fn new(is_quiet: bool) -> Self {
        let has_bar = !is_quiet && io::stderr().is_terminal();
        Line {
            bar: has_bar.then(progress::text),
            is_quiet,
            next: Instant::now() + if has_bar { Duration::ZERO } else { REPRINT },
            printed: String::new(),
        }
    }

    fn show(&mut self, toll: &Toll) {
        if self.is_quiet || Instant::now() < self.next {
            return;
        }
        match &self.bar {
            Some(bar) => bar.set_message(toll.line()),
            None => self.print(toll),
        }
        self.next += if self.bar.is_some() { REDRAW } else { REPRINT };
    }

    /// Leaves the last line standing.
    fn end(&mut self, toll: &Toll) {
        match &self.bar {
            Some(bar) => bar.finish_with_message(toll.line()),
            None if self.is_quiet => {}
            None => self.print(toll),
        }
    }

    fn print(&mut self, toll: &Toll) {
        let line = toll.line();
        if line != self.printed {
            eprintln!("{line}");
            self.printed = line;
        }
    }
}

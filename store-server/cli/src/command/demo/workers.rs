//! The logic processes.

use std::{fs::OpenOptions, process::Stdio, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{chaos::Plan, directory::Directory};
use crate::{
    failure::Failure,
    interrupt::Interrupt,
    own_program::{self, OwnProcess},
};

/// The trades after which every other process makes way for a successor, if it is not killed before.
const TRADES: std::ops::Range<u32> = 20..400;

/// The processes of `main.lua`, each with a name of its own.
#[derive(Debug)]
pub struct Workers<'d> {
    directory: &'d Directory,
    seed: u64,
    random: StdRng,
    processes: Vec<OwnProcess>,
    /// Whether each makes way for a successor by itself.
    leaves: Vec<bool>,
    /// Whether those started from now on may.
    may_leave: bool,
    /// How often one ended with an error.
    pub failures: u64,
}

/// The name of a worker, counted from 0.
pub fn name(number: usize) -> String {
    format!("w{}", number + 1)
}

impl<'d> Workers<'d> {
    /// Starts them all.
    pub fn start(directory: &'d Directory, plan: &Plan) -> Result<Self, Failure> {
        let mut workers = Workers {
            directory,
            seed: plan.seed,
            random: StdRng::seed_from_u64(!plan.seed),
            processes: Vec::new(),
            leaves: vec![false; plan.workers as usize],
            may_leave: true,
            failures: 0,
        };
        for number in 0..plan.workers as usize {
            let process = workers.start_one(number)?;
            workers.processes.push(process);
        }
        Ok(workers)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.processes.len()
    }

    /// Kills one with SIGKILL and starts its successor. False: it had ended by itself.
    pub fn kill_and_restart(&mut self, number: usize) -> Result<bool, Failure> {
        let was_killed = self.processes[number].kill()?;
        if !was_killed {
            self.see_how_it_ended(number)?;
        }
        self.processes[number] = self.start_one(number)?;
        Ok(was_killed)
    }

    /// From now on nobody leaves by himself: kills those who would, and starts their successors. Gives how many it killed.
    pub fn settle(&mut self) -> Result<u64, Failure> {
        self.may_leave = false;
        let mut kills = 0;
        for number in 0..self.processes.len() {
            if self.leaves[number] {
                kills += u64::from(self.kill_and_restart(number)?);
            }
        }
        Ok(kills)
    }

    /// Starts the successors of those that have ended by themselves.
    pub fn restart_ended(&mut self) -> Result<(), Failure> {
        for number in 0..self.processes.len() {
            if self.see_how_it_ended(number)? {
                self.processes[number] = self.start_one(number)?;
            }
        }
        Ok(())
    }

    /// Whether it has ended; that may be as planned, but not with an error.
    fn see_how_it_ended(&mut self, number: usize) -> Result<bool, Failure> {
        let status = self.processes[number].ended()?;
        if status.is_some_and(|status| !status.success()) {
            self.failures += 1;
        }
        Ok(status.is_some())
    }

    /// Waits until all have ended by themselves.
    pub fn wait(&mut self, timeout: Duration, interrupt: &Interrupt) -> Result<(), Failure> {
        for process in &mut self.processes {
            let status = process.wait(timeout, interrupt)?.ok_or_else(|| {
                Failure::operation(format_args!(
                    "a worker does not stop within {timeout:?} of being told to"
                ))
            })?;
            if !status.success() {
                self.failures += 1;
            }
        }
        Ok(())
    }

    fn start_one(&mut self, number: usize) -> Result<OwnProcess, Failure> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.path("workers.log"))?;
        let mut command = own_program::command()?;
        command
            .arg("lua")
            .arg(self.directory.script("main.lua"))
            .arg(name(number))
            .arg((self.seed + number as u64).to_string())
            .stdout(Stdio::null())
            .stderr(log);
        self.leaves[number] = self.may_leave && self.random.random();
        if self.leaves[number] {
            command.arg(self.random.random_range(TRADES).to_string());
        }
        Ok(OwnProcess::start(&mut command)?)
    }
}

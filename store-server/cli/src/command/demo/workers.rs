//! The logic processes.

use std::{fs::OpenOptions, process::Stdio, time::Duration};

use super::{chaos::Plan, directory::Directory};
use crate::{
    failure::Failure,
    interrupt::Interrupt,
    own_program::{self, OwnProcess},
};

/// The processes of `main.lua`, each with a name of its own.
#[derive(Debug)]
pub struct Workers<'d> {
    directory: &'d Directory,
    seed: u64,
    processes: Vec<OwnProcess>,
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
            processes: Vec::new(),
            failures: 0,
        };
        for number in 0..plan.workers as usize {
            let process = workers.start_one(number)?;
            workers.processes.push(process);
        }
        Ok(workers)
    }

    /// Kills one with SIGKILL and starts it again.
    pub fn kill_and_restart(&mut self, number: usize) -> Result<(), Failure> {
        if !self.processes[number].kill()? {
            self.failures += 1;
        }
        self.processes[number] = self.start_one(number)?;
        Ok(())
    }

    /// Starts those again that have ended by themselves, which none should.
    pub fn restart_failed(&mut self) -> Result<(), Failure> {
        for number in 0..self.processes.len() {
            if self.processes[number].ended()?.is_some() {
                self.failures += 1;
                self.processes[number] = self.start_one(number)?;
            }
        }
        Ok(())
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

    fn start_one(&self, number: usize) -> Result<OwnProcess, Failure> {
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
        Ok(OwnProcess::start(&mut command)?)
    }
}

//! The store, as a child process.

use std::{fs, fs::OpenOptions, os::unix::net::UnixStream, process::Stdio, time::Duration};

use super::directory::Directory;
use crate::{
    failure::Failure,
    interrupt::Interrupt,
    own_program::{self, OwnProcess},
};

/// How long the store may take to serve.
const START_MAX: Duration = Duration::from_secs(30);

/// `stillpoint serve` in the demo's directory.
#[derive(Debug)]
pub struct Store<'d> {
    directory: &'d Directory,
    process: OwnProcess,
}

impl<'d> Store<'d> {
    /// Starts it and waits until it serves.
    pub fn start(directory: &'d Directory, interrupt: &Interrupt) -> Result<Self, Failure> {
        let process = start_process(directory)?;
        let mut store = Store { directory, process };
        store.wait_until_it_serves(interrupt)?;
        Ok(store)
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) -> Result<(), Failure> {
        if self.process.kill()? {
            Ok(())
        } else {
            Err(self.ended_by_itself())
        }
    }

    /// Starts it again after a kill. Nobody needs to wait: clients do.
    pub fn start_at_once(&mut self) -> Result<(), Failure> {
        self.process = start_process(self.directory)?;
        Ok(())
    }

    /// Starts it again after a kill, and waits until it serves.
    pub fn start_again(&mut self, interrupt: &Interrupt) -> Result<(), Failure> {
        self.start_at_once()?;
        self.wait_until_it_serves(interrupt)
    }

    /// Fails if it has ended without having been told to.
    pub fn see_that_it_runs(&mut self) -> Result<(), Failure> {
        match self.process.ended()? {
            None => Ok(()),
            Some(_) => Err(self.ended_by_itself()),
        }
    }

    /// Stops it.
    pub fn stop(mut self) -> Result<(), Failure> {
        let status = self.process.stop()?;
        if status.success() {
            Ok(())
        } else {
            Err(self.ended_by_itself())
        }
    }

    /// Leaves it running until Ctrl-C, then stops it.
    pub fn run_until_told(mut self, interrupt: &Interrupt) -> Result<(), Failure> {
        while !interrupt.is_told() {
            self.see_that_it_runs()?;
            // Being told is what we wait for, no failure.
            let _ = interrupt.pause(Duration::from_millis(100));
        }
        self.stop()
    }

    /// Waits until it serves, after a start.
    pub fn wait_until_it_serves(&mut self, interrupt: &Interrupt) -> Result<(), Failure> {
        let socket = self.directory.path("data/stillpoint.sock");
        let serves = interrupt.wait_for(START_MAX, || {
            self.see_that_it_runs()?;
            Ok(UnixStream::connect(&socket).ok())
        })?;
        match serves {
            Some(_) => Ok(()),
            None => Err(Failure::operation(format_args!(
                "the store does not serve after {START_MAX:?}{}",
                self.complaints()
            ))),
        }
    }

    fn ended_by_itself(&self) -> Failure {
        Failure::operation(format_args!(
            "the store ended by itself{}",
            self.complaints()
        ))
    }

    /// The end of what it said.
    fn complaints(&self) -> String {
        let path = self.directory.path("store.log");
        let log = fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(5)..];
        format!("; the end of {}:\n{}", path.display(), last.join("\n"))
    }
}

fn start_process(directory: &Directory) -> Result<OwnProcess, Failure> {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.path("store.log"))?;
    let mut command = own_program::command()?;
    command
        .arg("serve")
        .arg("--data-dir")
        .arg(directory.path("data"))
        .stdout(Stdio::null())
        .stderr(log);
    Ok(OwnProcess::start(&mut command)?)
}

//! Commands of this program, run as a person would type them.

use std::{
    fs::File,
    io::{Read, Seek},
    process::Stdio,
    time::Duration,
};

use crate::{
    failure::Failure,
    interrupt::Interrupt,
    own_program::{self, OwnProcess},
};

/// Longest time a command may take.
const COMMAND_MAX: Duration = Duration::from_secs(120);

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    /// Whether its exit code says so.
    pub succeeded: bool,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

/// A command under way; killed when dropped.
#[derive(Debug)]
pub struct Running {
    typed: String,
    process: OwnProcess,
    stdout: File,
    stderr: File,
}

impl Running {
    /// Starts a command.
    pub fn start(args: &[&str]) -> Result<Self, Failure> {
        let (stdout, stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
        let mut command = own_program::command()?;
        command
            .args(args)
            .stdout(Stdio::from(stdout.try_clone()?))
            .stderr(Stdio::from(stderr.try_clone()?));
        Ok(Running {
            typed: args.join(" "),
            process: OwnProcess::start(&mut command)?,
            stdout,
            stderr,
        })
    }

    /// What it came to, once it has ended.
    pub fn ended(&mut self) -> Result<Option<Ran>, Failure> {
        let Some(status) = self.process.ended()? else {
            return Ok(None);
        };
        Ok(Some(Ran {
            succeeded: status.success(),
            stdout: read_back(&mut self.stdout)?,
            stderr: read_back(&mut self.stderr)?,
        }))
    }
}

/// Runs a command to its end.
pub fn run_to_end(args: &[&str], interrupt: &Interrupt) -> Result<Ran, Failure> {
    let mut running = Running::start(args)?;
    let ran = interrupt.wait_for(COMMAND_MAX, || running.ended())?;
    ran.ok_or_else(|| {
        Failure::operation(format_args!(
            "{} takes longer than {COMMAND_MAX:?}",
            running.typed
        ))
    })
}

/// What a child wrote to the file.
fn read_back(file: &mut File) -> Result<String, Failure> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(text)
}

//! This program, started again as a child process.

use std::{
    env, io,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{
    Pid, Signal, getpid, getppid, kill_process, set_parent_process_death_signal,
};

use crate::{failure::Failure, interrupt::Interrupt};

/// How long a process that was told to stop may take, before it is killed.
const STOP_MAX: Duration = Duration::from_secs(30);

/// A command of this very program, with no settings from the environment, out of reach of the terminal's Ctrl-C, and
/// ended by the system when we end, however that comes. To be spawned from the main thread: it is the spawning thread
/// whose end counts.
pub fn command() -> io::Result<Command> {
    let mut command = Command::new(path()?);
    command.arg0("stillpoint");
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"STILLPOINT_") {
            command.env_remove(name);
        }
    }
    command.process_group(0).stdin(Stdio::null());
    let parent = getpid();
    let ends_with_us = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid() == Some(parent) {
            Ok(())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    };
    // SAFETY: between fork and exec it makes two system calls, and neither allocates nor locks.
    unsafe { command.pre_exec(ends_with_us) };
    Ok(command)
}

/// Where the program is. Under Linux the system knows, even if somebody has built another in its place.
fn path() -> io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() {
        return Ok(running.to_owned());
    }
    env::current_exe()
}

/// A child process, killed when dropped.
#[derive(Debug)]
pub struct OwnProcess(Child);

impl OwnProcess {
    /// Starts the command.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        command.spawn().map(OwnProcess)
    }

    /// The ends of its pipes that are ours, which the command must have asked for.
    pub fn take_pipes(&mut self) -> io::Result<(ChildStdin, ChildStdout)> {
        let pipes = self.0.stdin.take().zip(self.0.stdout.take());
        pipes.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    /// Kills it with SIGKILL; returns when it is gone. False: it had ended by itself.
    pub fn kill(&mut self) -> io::Result<bool> {
        self.0.kill()?;
        Ok(self.0.wait()?.signal() == Some(Signal::KILL.as_raw()))
    }

    /// Asks it to stop, with SIGTERM, and waits until it has.
    pub fn stop(&mut self) -> Result<ExitStatus, Failure> {
        if self.0.try_wait()?.is_none() {
            kill_process(Pid::from_child(&self.0), Signal::TERM).map_err(io::Error::from)?;
        }
        // A stop is what follows an interrupt too, so it is not cut short by one.
        self.wait(STOP_MAX, &Interrupt::default())?
            .ok_or_else(|| Failure::operation("a process does not stop when it is told to"))
    }

    /// Waits for it to end by itself; `None`: it has not within `timeout`.
    pub fn wait(
        &mut self,
        timeout: Duration,
        interrupt: &Interrupt,
    ) -> Result<Option<ExitStatus>, Failure> {
        interrupt.wait_for(timeout, || Ok(self.0.try_wait()?))
    }
}

impl Drop for OwnProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How a person here would type this program's name: relative where that is shorter.
pub fn typed_name() -> String {
    let Ok(program) = env::current_exe() else {
        return "stillpoint".into();
    };
    typed_path(&program)
}

/// A path as a person here would type it.
pub fn typed_path(path: &Path) -> String {
    let below_here = env::current_dir()
        .ok()
        .and_then(|here| path.strip_prefix(here).ok());
    match below_here {
        Some(relative) if relative.components().count() == 1 => {
            Path::new(".").join(relative).display().to_string()
        }
        Some(relative) => relative.display().to_string(),
        None => path.display().to_string(),
    }
}

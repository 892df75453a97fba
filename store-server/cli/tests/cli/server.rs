//! A real server for a test, and the built program to use it with.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStderr, Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// `stillpoint serve` in a fresh directory; killed when dropped.
pub struct Server {
    directory: TempDir,
    process: Child,
    log: BufReader<ChildStderr>,
}

impl Server {
    /// Starts it, and returns once it serves.
    pub fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), &[])
    }

    /// Starts it with these flags in this directory.
    pub fn start_in(directory: TempDir, flags: &[&str]) -> Self {
        let mut process = program()
            .args(["serve", "--log-format", "json", "--data-dir"])
            .arg(directory.path())
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        let mut server = Server {
            directory,
            process,
            log,
        };
        server.wait_for("serving");
        server
    }

    /// Reads the log up to this message.
    pub fn wait_for(&mut self, message: &str) {
        let mut told = String::new();
        while self.log.read_line(&mut told).unwrap() > 0 {
            let line = told.lines().next_back().unwrap_or_default();
            let line: Value = serde_json::from_str(line).unwrap_or_default();
            if line["fields"]["message"] == message {
                return;
            }
        }
        panic!("the server ended before {message:?}: {told}");
    }

    /// Where its data is.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Sends SIGTERM and returns the exit code and the directory.
    pub fn stop(mut self) -> (Option<i32>, TempDir) {
        let pid = self.process.id().to_string();
        Command::new("kill").arg(pid).status().unwrap();
        let code = self.process.wait().unwrap().code();
        let empty = tempfile::tempdir().unwrap();
        (code, std::mem::replace(&mut self.directory, empty))
    }

    /// Kills it at once and returns its directory.
    pub fn kill(mut self) -> TempDir {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let empty = tempfile::tempdir().unwrap();
        std::mem::replace(&mut self.directory, empty)
    }

    /// The program, told where this server is.
    pub fn program(&self) -> Command {
        let url = |socket: &str| format!("unix:{}", self.directory().join(socket).display());
        let mut program = program();
        program
            .env("STILLPOINT_URL", url("stillpoint.sock"))
            .env("STILLPOINT_ADMIN", url("admin.sock"));
        program
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Ran {
        run(self.program().args(args))
    }

    /// Runs a command that must succeed; returns its stdout without the last line end.
    pub fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        ran.stdout.trim_end().to_owned()
    }

    /// Runs a command that reads `input`.
    pub fn run_with_input(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut process = self
            .program()
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        process.stdin.take().unwrap().write_all(input).unwrap();
        process.wait_with_output().unwrap().into()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    /// The exit code.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Ran {
            code: output.status.code().expect("no signal ended it"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Ran {
    command.stdin(Stdio::null()).output().unwrap().into()
}

/// The built program.
pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_stillpoint"))
}

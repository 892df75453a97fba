//! A Lua process that says what it sees, a line each, and does what it is told, a line each.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    lua_modules::{LuaVersion, root},
    server::Server,
};

/// A running process, killed when dropped.
#[derive(Debug)]
pub struct Process {
    process: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts a script of `tests/lua` with some more environment; `None`: this Lua is not here.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn start(
        version: LuaVersion,
        script: &str,
        server: &Server,
        environment: &[(&str, &str)],
    ) -> Option<Process> {
        let mut process = version
            .command()?
            .arg(root().join("tests/lua").join(script))
            .env("STILLPOINT_SPEC_URL", server.url())
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the interpreter starts");
        let stdin = process.stdin.take().expect("it has a stdin");
        let stdout = process.stdout.take().expect("it has a stdout");
        Some(Process {
            process,
            stdin,
            lines: BufReader::new(stdout).lines(),
        })
    }

    /// The next line; `None`: there will be no more.
    ///
    /// # Panics
    ///
    /// If it is no text.
    pub fn says(&mut self) -> Option<String> {
        self.lines.next().transpose().expect("it can be read")
    }

    /// Tells it to do something.
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub fn tell(&mut self, what: &str) {
        writeln!(self.stdin, "{what}").expect("it lives");
    }

    /// Tells it to do something; gives what it says when it has done it.
    ///
    /// # Panics
    ///
    /// If it ends without a word.
    pub fn ask(&mut self, what: &str) -> String {
        self.tell(what);
        let said = self.says();
        said.unwrap_or_else(|| panic!("the process ended at {what:?}"))
    }

    /// Sends it a signal.
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("it lives");
    }

    /// Waits for its end, which must be a good one.
    ///
    /// # Panics
    ///
    /// If it is not.
    pub fn end(mut self) {
        let status = self.process.wait().expect("it is our child");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

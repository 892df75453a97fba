//! Processes of every Lua, and what they say.

use std::{
    ffi::{OsStr, OsString},
    io::{BufRead, BufReader, Lines},
    path::Path,
    process::{Child, ChildStdout, Stdio},
};

use stillpoint_tests::{
    lua_modules::{LuaVersion, root},
    server::Server,
};

/// One process per interpreter that there is; killed when dropped.
pub struct Fleet(pub Vec<Worker>);

/// A process.
pub struct Worker {
    pub name: &'static str,
    pub process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Fleet {
    /// Starts one of each, with a program in `roots` if there are any, and waits until all are ready.
    pub fn start(server: &Server, roots: Option<&Path>) -> Fleet {
        let started = LuaVersion::ALL
            .into_iter()
            .filter_map(|version| Worker::start(version, server, roots));
        let mut fleet = Fleet(started.collect());
        assert!(!fleet.0.is_empty(), "there is no interpreter at all");
        for worker in &mut fleet.0 {
            worker.hear("ready");
        }
        fleet
    }

    /// How the processes are called, in order.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.0.iter().map(|worker| worker.name.into()).collect();
        names.sort();
        names
    }
}

impl Worker {
    /// Starts one with these further arguments, if there is the interpreter.
    pub fn start(
        version: LuaVersion,
        server: &Server,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Option<Worker> {
        let mut command = version.command()?;
        // The system's libraries, too: event loops.
        let paths: Vec<(OsString, OsString)> = command
            .get_envs()
            .filter(|(name, _)| *name == "LUA_PATH" || *name == "LUA_CPATH")
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        for (name, mut value) in paths {
            value.push(";;");
            command.env(name, value);
        }
        command
            .arg(root().join("tests/tests/commands/worker.lua"))
            .args([server.url(), version.feature().into()])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut process = command.spawn().expect("the interpreter starts");
        let stdout = process.stdout.take().expect("it has a stdout");
        Some(Worker {
            name: version.feature(),
            process,
            lines: BufReader::new(stdout).lines(),
        })
    }

    /// Reads its next line, which has to be this.
    pub fn hear(&mut self, expected: &str) {
        assert_eq!(self.line().as_deref(), Some(expected), "{}", self.name);
    }

    /// Its next line; `None` when it has ended.
    pub fn line(&mut self) -> Option<String> {
        self.lines.next().transpose().expect("it can be read")
    }

    /// Waits for its end, which has to be a good one.
    pub fn ends(&mut self) {
        let status = self.process.wait().expect("it is our child");
        assert!(status.success(), "{}: {status}", self.name);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

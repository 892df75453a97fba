//! The processes of a fleet, each under another Lua, and the files of their program.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Lines, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use stillpoint_tests::lua_modules::{LuaVersion, root};
use tempfile::TempDir;

/// The processes by name, and what they are started with.
pub struct Processes {
    url: String,
    files: TempDir,
    /// The Luas that are here; each process gets the next.
    versions: std::iter::Cycle<std::vec::IntoIter<LuaVersion>>,
    by_name: BTreeMap<String, Process>,
}

/// A process; killed when dropped.
pub struct Process {
    name: String,
    process: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Processes {
    /// None yet. The first one runs under the Lua that comes `first`, of those that are here.
    pub fn new(url: String, first: usize) -> Processes {
        let there = LuaVersion::ALL.into_iter();
        let mut versions: Vec<_> = there.filter(|v| v.interpreter().is_some()).collect();
        assert!(!versions.is_empty(), "there is no interpreter at all");
        let first = first % versions.len();
        versions.rotate_left(first);
        Processes {
            url,
            files: tempfile::tempdir().expect("a directory is made"),
            versions: versions.into_iter().cycle(),
            by_name: BTreeMap::new(),
        }
    }

    /// Writes a file of the program.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.files.path().join(name), text).expect("it is written");
    }

    /// Writes the program, of this version, with more in its hook after a reload.
    pub fn write_rules(&self, version: i64, hook: &str) {
        self.write("rules.lua", &rules(version, hook));
    }

    /// Starts one, and waits until it works.
    pub fn start(&mut self, name: &str) {
        let files = self.files.path().to_owned();
        self.start_with(name, &files);
    }

    /// The same with files of its own.
    pub fn start_with(&mut self, name: &str, files: &Path) {
        let version = self.versions.next().expect("it goes on for ever");
        let mut process = Process::spawn(version, &self.url, name, files);
        process.hear("ready");
        self.by_name.insert(name.into(), process);
    }

    /// The one of this name.
    pub fn get(&mut self, name: &str) -> &mut Process {
        self.by_name.get_mut(name).expect("it was started")
    }

    /// Kills it, wherever it is.
    pub fn kill(&mut self, name: &str) {
        self.by_name.remove(name).expect("it was started");
    }

    /// How they are called that run.
    pub fn names(&self) -> Vec<String> {
        self.by_name.keys().cloned().collect()
    }
}

/// The program, of this version, with more in its hook after a reload.
pub fn rules(version: i64, hook: &str) -> String {
    format!(
        "local M = require('stillpoint.reload').module(...)\n\
         wait_at 'stage'\n\
         function M.version() return {version} end\n\
         function M.on_reload()\n  wait_at 'hook'\n  {hook}\nend\n"
    )
}

impl Process {
    fn spawn(version: LuaVersion, url: &str, name: &str, files: &Path) -> Process {
        let mut command = version.command().expect("this Lua is here");
        let mut process = command
            .arg(root().join("tests/tests/fleet_reload/worker.lua"))
            .args([url, name])
            .arg(files)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the interpreter starts");
        Process {
            name: name.into(),
            stdin: process.stdin.take().expect("it has a stdin"),
            lines: BufReader::new(process.stdout.take().expect("it has a stdout")).lines(),
            process,
        }
    }

    /// Waits for its next line, which has to be this.
    pub fn hear(&mut self, expected: &str) {
        let line = self.lines.next().transpose().expect("it can be read");
        assert_eq!(line.as_deref(), Some(expected), "{}", self.name);
    }

    /// Lets it go on where it waits, to `go` or to `fail`.
    pub fn tell(&mut self, word: &str) {
        writeln!(self.stdin, "{word}").expect("it lives");
    }

    /// Sends it a signal.
    pub fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("it lives");
    }

    /// Waits for its end, which has to be a good one.
    pub fn ends(&mut self) {
        self.hear("ended");
        let status = self.process.wait().expect("it is our child");
        assert!(status.success(), "{}: {status}", self.name);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

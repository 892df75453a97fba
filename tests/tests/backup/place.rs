//! Where backups are, and the program's commands on them.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use stillpoint_tests::server::{Server, Setup, program};
use tempfile::TempDir;

/// A target for backups, and a folder with room for what is restored from them.
pub struct Place {
    folder: TempDir,
    url: String,
    environment: Vec<(&'static str, String)>,
}

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; `None`: it was killed.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said beside.
    pub stderr: String,
}

impl Place {
    /// An empty directory.
    pub fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let url = folder.path().join("backups").to_str().unwrap().to_owned();
        Place {
            folder,
            url,
            environment: Vec::new(),
        }
    }

    /// A target at a URL, reached with this environment.
    pub fn at(url: &str, environment: Vec<(&'static str, String)>) -> Place {
        Place {
            url: url.to_owned(),
            environment,
            ..Place::new()
        }
    }

    /// How it is named.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A path beside it.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A data directory beside it that does not exist yet.
    pub fn free_directory(&self) -> Setup {
        let setup = Setup::within(self.folder.path());
        std::fs::remove_dir(setup.directory()).unwrap();
        setup
    }

    /// A command on the backups.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = stillpoint(args);
        command
            .args(["--from", &self.url])
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command on the backups.
    pub fn run(&self, args: &[&str]) -> Ran {
        run(&mut self.command(args))
    }

    /// The same, which must succeed; gives what it printed.
    pub fn ok(&self, args: &[&str]) -> String {
        self.run(args).ok()
    }

    /// A server as set up, which reaches the target.
    pub fn reached_by(&self, setup: &Setup) -> Setup {
        (self.environment.iter()).fold(setup.clone(), |setup, (name, value)| {
            setup.with_env(name, value)
        })
    }

    /// The command that has a server take a backup.
    pub fn create(&self, server: &Server, flags: &[&str]) -> Command {
        let admin = format!("unix:{}", server.directory().join("admin.sock").display());
        let mut command = stillpoint(&["backup", "create", "--json"]);
        command
            .args(["--to", &self.url, "--admin", &admin])
            .args(flags);
        command
    }

    /// Has a server take a backup, which must succeed; gives what is told of it.
    pub fn take(&self, server: &Server, flags: &[&str]) -> Value {
        let told = run(&mut self.create(server, flags)).ok();
        serde_json::from_str(&told).unwrap()
    }

    /// The names of the backups, oldest first. All their manifests are sound.
    pub fn ids(&self) -> Vec<String> {
        let listed = self.ok(&["backup", "list", "--json"]);
        let ids = listed.lines().map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["id"].as_str().unwrap().to_owned()
        });
        ids.collect()
    }

    /// Restores into a directory, which must succeed; gives what is told of it.
    pub fn restore(&self, into: &Path, flags: &[&str]) -> Value {
        let into = into.to_str().unwrap();
        let told = self.ok(&[&["restore", "--json", "--into", into], flags].concat());
        serde_json::from_str(&told).unwrap()
    }
}

impl Ran {
    /// What it printed, of a command that must have succeeded.
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout
    }

    /// What it said, of a command that must have failed.
    pub fn failed(self) -> String {
        assert_eq!(self.code, Some(1), "{}{}", self.stdout, self.stderr);
        self.stderr
    }
}

/// The program, with nothing from the environment that it would listen to.
pub fn stillpoint(args: &[&str]) -> Command {
    let mut command = Command::new(program());
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("STILLPOINT_") || text.starts_with("AWS_") {
            command.env_remove(&name);
        }
    }
    command.args(args);
    command
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Ran {
    ended(command.stdin(Stdio::null()).output().unwrap())
}

/// Starts a command whose end is waited for later.
pub fn start(command: &mut Command) -> Child {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What a command came to that has been started.
pub fn wait(child: Child) -> Ran {
    ended(child.wait_with_output().unwrap())
}

fn ended(output: Output) -> Ran {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

//! A directory for backups, and the commands on it.

use std::{fs, path::PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::server::{Ran, Server, program, run};

/// A directory for backups, and room beside it.
pub struct Target(TempDir);

impl Target {
    /// An empty one.
    pub fn new() -> Self {
        Target(tempfile::tempdir().unwrap())
    }

    /// How it is named.
    pub fn url(&self) -> String {
        self.path("backups")
    }

    /// A path beside it.
    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Takes a backup with these flags, which must succeed; gives what is told of it.
    pub fn take(&self, server: &Server, flags: &[&str]) -> Value {
        let url = self.url();
        let args = [&["backup", "create", "--json", "--to", &url], flags].concat();
        serde_json::from_str(&server.ok(&args)).unwrap()
    }

    /// Runs a command that needs no server on it.
    pub fn run(&self, args: &[&str]) -> Ran {
        let url = self.url();
        run(program()
            .current_dir(self.0.path())
            .args(args)
            .args(["--from", &url]))
    }

    /// The same, which must succeed.
    pub fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        ran.stdout.trim_end().to_owned()
    }

    /// The names of the backups, oldest first.
    pub fn ids(&self) -> Vec<String> {
        let listed = self.ok(&["backup", "list", "--json"]);
        let lines = listed.lines().map(|line| {
            let backup: Value = serde_json::from_str(line).unwrap();
            backup["id"].as_str().unwrap().to_owned()
        });
        lines.collect()
    }

    /// A server on what was restored into this directory beside it.
    pub fn serve(&self, name: &str) -> Server {
        // It is the server's to remove.
        let directory = tempfile::tempdir().unwrap();
        let restored = PathBuf::from(self.path(name));
        for item in fs::read_dir(&restored).unwrap() {
            let item = item.unwrap();
            fs::rename(item.path(), directory.path().join(item.file_name())).unwrap();
        }
        Server::start_in(directory, &[])
    }
}

//! A folder of scripts, and what is asked of a store that has some.

use std::{fs, path::Path};

use serde_json::Value;
use tempfile::TempDir;

use crate::server::Server;

/// Version 1: everybody has a level; who has no name cannot be migrated.
pub const LEVEL: &str = r#"return {
  from = 0, to = 1,
  up = function(doc)
    if not doc.name then error("no name", 0) end
    doc.level = 1
  end,
  down = function(doc) doc.level = nil end,
  samples = { { name = "Ann", gold = 5 } },
}"#;

/// Version 2: gold is in a purse.
pub const PURSE: &str = r#"return {
  from = 1, to = 2,
  up = function(doc) doc.purse = { gold = doc.gold }; doc.gold = nil end,
  down = function(doc) doc.gold = doc.purse.gold; doc.purse = nil end,
  samples = { { name = "Ann", level = 1, gold = 5 } },
}"#;

/// Version 1 without a way back.
pub const ONE_WAY: &str = r#"return {
  from = 0, to = 1,
  up = function(doc) doc.gold = nil end,
  samples = { { name = "Ann", gold = 5 } },
}"#;

/// A folder of scripts.
pub struct Scripts(TempDir);

impl Scripts {
    /// An empty one.
    pub fn new() -> Self {
        Scripts(tempfile::tempdir().unwrap())
    }

    /// One with version 1 of the collection `player` in the default namespace.
    pub fn with(text: &str) -> Self {
        let scripts = Scripts::new();
        scripts.write("default/player/0001_first.lua", text);
        scripts
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// How it is named.
    pub fn folder(&self) -> &str {
        self.path().to_str().unwrap()
    }

    /// Writes a file below it.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// Players of version 0, by number; none but those of `nameless` lack a name.
pub fn put_players(server: &Server, count: u32, nameless: &[u32]) {
    for n in 0..count {
        let value = match nameless.contains(&n) {
            true => format!(r#"{{"gold": {n}}}"#),
            false => format!(r#"{{"name": "Ann", "gold": {n}}}"#),
        };
        server.ok(&["put", &format!("player/p{n:03}"), &value]);
    }
}

/// How the migration of a collection is going.
pub fn status(server: &Server, collection: &str) -> Value {
    let all = server.ok(&["migrate", "status", "--json"]);
    let all = all.lines().map(|line| serde_json::from_str(line).unwrap());
    let mut all = all.filter(|status: &Value| status["collection"] == collection);
    all.next().unwrap_or_default()
}

/// Waits until the job of a collection is in this phase.
pub fn wait_for_phase(server: &Server, collection: &str, phase: &str) {
    loop {
        let status = status(server, collection);
        if status["phase"] == phase {
            return;
        }
        assert_eq!(status["phase"], "rewriting", "{status}");
    }
}

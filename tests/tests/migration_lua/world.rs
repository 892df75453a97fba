//! A store with programs in Lua, and its operator, who migrates it.

use std::{fs, process::Command};

use stillpoint_client::{
    AdminClient,
    v1::{
        ApplyMigrationsRequest, ApplyMigrationsResponse, CollectionName, MigrationPhase,
        MigrationScript, MigrationStatus, PublishScriptsRequest, apply_migrations_response::Kind,
    },
};
use stillpoint_tests::{
    lua_modules::LuaVersion,
    lua_process::Process,
    server::{Server, Setup, program},
};

/// Players' gold comes into a purse. It can be undone.
pub const PURSE: &str = "
return {
  from = 0, to = 1,
  up = function(player)
    assert(type(player.gold) == 'number', 'the gold is no number')
    player.purse = { gold = player.gold }
    player.gold = nil
  end,
  down = function(player)
    player.gold = player.purse.gold
    player.purse = nil
  end,
  samples = { { name = 'ann', gold = 5 } },
}";

/// The same without a way back.
pub const ONE_WAY: &str = "
return {
  from = 0, to = 1,
  up = function(player)
    player.purse = { gold = player.gold }
    player.gold = nil
  end,
  samples = { { name = 'ann', gold = 5 } },
}";

/// The same with a way back that does not lead to where it came from.
pub const LOSSY: &str = "
return {
  from = 0, to = 1,
  lossy = true,
  up = function(player)
    player.purse = { gold = player.gold }
    player.gold, player.title = nil, nil
  end,
  down = function(player)
    player.gold = player.purse.gold
    player.purse = nil
  end,
  samples = { { name = 'ann', gold = 5, title = 'Dr' } },
}";

/// How long an operator waits for programs, at most.
pub const PATIENCE_MS: u64 = 60_000;

/// A store, and what its programs run on.
pub struct World {
    pub version: LuaVersion,
    setup: Setup,
    /// `None` only while it is started anew.
    server: Option<Server>,
}

impl World {
    /// A fresh one, whose players are ann, bob and cid with 5 gold each, put there by an old program, which goes on;
    /// `None`: this Lua is not here.
    pub fn start(version: LuaVersion) -> Option<(World, Process)> {
        version.interpreter()?;
        let setup = Setup::new();
        let world = World {
            version,
            server: Some(setup.start()),
            setup,
        };
        let mut old = world.program("old", None);
        for name in ["ann", "bob", "cid"] {
            assert_eq!(old.ask(&format!("put {name} 5")), "done");
        }
        Some((world, old))
    }

    /// Kills the store, and starts it again.
    pub fn restart(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill();
        }
        self.server = Some(self.setup.start());
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("it runs")
    }

    /// Starts a program that declares this version, or none.
    pub fn program(&self, instance: &str, declares: Option<u32>) -> Process {
        let (program, first) = self.spawn(instance, declares);
        assert_eq!(first, "ready", "{instance}");
        program
    }

    /// Starts a program that the store has to refuse; why it did.
    pub fn refused(&self, instance: &str, declares: u32) -> String {
        let (program, said) = self.spawn(instance, Some(declares));
        program.end();
        said.strip_prefix("refused ")
            .unwrap_or_else(|| panic!("it was not refused: {said}"))
            .into()
    }

    /// Starts a program that is no instance of a service.
    pub fn sessionless(&self) -> Process {
        let mut program = self.process(&[]);
        assert_eq!(program.says().as_deref(), Some("ready"));
        program
    }

    fn spawn(&self, instance: &str, declares: Option<u32>) -> (Process, String) {
        let declares = declares.map(|version| version.to_string());
        let mut environment = vec![("STILLPOINT_SPEC_INSTANCE", instance)];
        if let Some(version) = &declares {
            environment.push(("STILLPOINT_SPEC_SCHEMA", version));
        }
        let mut program = self.process(&environment);
        let first = program.says().expect("it says how it began");
        (program, first)
    }

    fn process(&self, environment: &[(&str, &str)]) -> Process {
        let script = "migration_program.lua";
        Process::start(self.version, script, self.server(), environment)
            .expect("this Lua was here before")
    }

    /// Its operator's port.
    pub fn admin(&self) -> AdminClient {
        self.server().admin()
    }

    /// Applies the players' script, as operators do. The records are rewritten after this.
    pub fn apply(&self, script: &str) {
        let scripts = tempfile::tempdir().expect("a folder is made");
        let folder = scripts.path().join("spec/player");
        fs::create_dir_all(&folder).expect("a folder is made");
        fs::write(folder.join("0001_purse.lua"), script).expect("the script is written");
        let output = Command::new(program())
            .args(["migrate", "apply", "--detach", "--admin"])
            .arg(format!(
                "unix:{}",
                self.server().directory().join("admin.sock").display()
            ))
            .arg(scripts.path())
            .output()
            .expect("the program runs");
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Publishes the players' script.
    pub fn publish(&self, script: &str) {
        let request = PublishScriptsRequest {
            scripts: vec![MigrationScript {
                namespace: "spec".into(),
                collection: "player".into(),
                number: 1,
                name: "purse".into(),
                text: script.into(),
                ..MigrationScript::default()
            }],
            actor: "the test".into(),
        };
        let published = self.admin().publish_scripts(request);
        assert_eq!(published.expect("it is a good one").published.len(), 1);
    }

    /// Waits until the background job rests, which must have gone through all records.
    pub fn rewritten(&self) -> MigrationStatus {
        let mut admin = self.admin();
        let told = admin.follow_migration(players()).expect("there is one");
        let told: Result<Vec<_>, _> = told.collect();
        let last = told.expect("it can be followed").pop();
        let status = last.and_then(|told| told.status).expect("it is told");
        assert_eq!(status.phase(), MigrationPhase::Rewritten, "{status:?}");
        status
    }
}

/// Where the players are.
pub fn players() -> CollectionName {
    CollectionName {
        namespace: "spec".into(),
        collection: "player".into(),
    }
}

/// To apply the players' newest script, waiting so long for old programs.
pub fn request(wait_ms: u64) -> ApplyMigrationsRequest {
    ApplyMigrationsRequest {
        collections: vec![players()],
        wait_ms,
        actor: "the test".into(),
        ..ApplyMigrationsRequest::default()
    }
}

/// Whether an apply told that the new version counts.
pub fn is_applied(told: Option<&ApplyMigrationsResponse>) -> bool {
    let kind = told.and_then(|told| told.kind.as_ref());
    matches!(kind, Some(Kind::Applied(applied)) if applied.migrations.len() == 1)
}

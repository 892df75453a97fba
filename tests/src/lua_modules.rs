//! The Lua module as it ships, built for every Lua version, and the interpreters that load it.
//!
//! A module is built when a test first asks for it, through cargo with a target directory of its own, and is kept in
//! `target/modules/PROFILE/VERSION/`; a later build is mere seconds of cargo finding that nothing changed. Tests in
//! several processes wait for each other.

use std::{
    env,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// Set to 1, a missing interpreter fails a test instead of skipping it.
pub const REQUIRE_ALL: &str = "STILLPOINT_TEST_REQUIRE_ALL";

/// A Lua that the client supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum LuaVersion {
    Lua51,
    Lua52,
    Lua53,
    Lua54,
    Lua55,
    LuaJit,
}

impl LuaVersion {
    /// All of them.
    pub const ALL: [LuaVersion; 6] = [
        LuaVersion::Lua51,
        LuaVersion::Lua52,
        LuaVersion::Lua53,
        LuaVersion::Lua54,
        LuaVersion::Lua55,
        LuaVersion::LuaJit,
    ];

    /// The crate's feature for it, which also names its folder.
    pub fn feature(self) -> &'static str {
        match self {
            LuaVersion::Lua51 => "lua51",
            LuaVersion::Lua52 => "lua52",
            LuaVersion::Lua53 => "lua53",
            LuaVersion::Lua54 => "lua54",
            LuaVersion::Lua55 => "lua55",
            LuaVersion::LuaJit => "luajit",
        }
    }

    /// What messages call it.
    pub fn name(self) -> &'static str {
        match self {
            LuaVersion::Lua51 => "Lua 5.1",
            LuaVersion::Lua52 => "Lua 5.2",
            LuaVersion::Lua53 => "Lua 5.3",
            LuaVersion::Lua54 => "Lua 5.4",
            LuaVersion::Lua55 => "Lua 5.5",
            LuaVersion::LuaJit => "LuaJIT",
        }
    }

    /// The interpreter's file name.
    fn program(self) -> &'static str {
        match self {
            LuaVersion::Lua51 => "lua5.1",
            LuaVersion::Lua52 => "lua5.2",
            LuaVersion::Lua53 => "lua5.3",
            LuaVersion::Lua54 => "lua5.4",
            LuaVersion::Lua55 => "lua5.5",
            LuaVersion::LuaJit => "luajit",
        }
    }

    /// The stock interpreter, from `PATH`. Lua 5.5, which few systems have, is built here if it is not there.
    ///
    /// # Panics
    ///
    /// If there is none and [`REQUIRE_ALL`] is set.
    pub fn interpreter(self) -> Option<PathBuf> {
        let path = env::var_os("PATH").unwrap_or_default();
        let found = env::split_paths(&path)
            .map(|folder| folder.join(self.program()))
            .find(|file| file.is_file());
        if found.is_none() && self == LuaVersion::Lua55 {
            return Some(built_lua55().to_owned());
        }
        let required = env::var(REQUIRE_ALL).is_ok_and(|value| value == "1");
        assert!(
            found.is_some() || !required,
            "{} is not in PATH: install it, or unset {REQUIRE_ALL}",
            self.program()
        );
        found
    }

    /// The interpreter with the module of `module` and the client's Lua files on its paths, and nothing else; `None`
    /// (said on stderr): there is none here.
    pub fn command_with_module_of(self, module: LuaVersion) -> Option<Command> {
        let Some(interpreter) = self.interpreter() else {
            eprintln!("skipped: {} is not in PATH", self.program());
            return None;
        };
        let lua = root().join("lua-client/lua");
        let specs = root().join("tests/lua");
        let mut command = Command::new(interpreter);
        for variable in ["LUA_INIT", "LUA_PATH", "LUA_CPATH"] {
            command.env_remove(variable);
            for version in ["5_2", "5_3", "5_4", "5_5"] {
                command.env_remove(format!("{variable}_{version}"));
            }
        }
        command.current_dir(root());
        command.env("LUA_CPATH", module_dir(module).join("?.so"));
        command.env(
            "LUA_PATH",
            format!(
                "{lua}/?.lua;{lua}/?/init.lua;{specs}/?.lua",
                lua = lua.display(),
                specs = specs.display()
            ),
        );
        Some(command)
    }

    /// The interpreter with its own module and the client's Lua files on its paths, and nothing else; `None` (said on
    /// stderr): there is none here.
    pub fn command(self) -> Option<Command> {
        self.command_with_module_of(self)
    }

    /// Runs a script of this repository, whose path is relative to the root, with some more environment.
    ///
    /// # Panics
    ///
    /// If it fails, with what it printed.
    pub fn run(self, script: &str, environment: &[(&str, &str)]) {
        let Some(mut command) = self.command() else {
            return;
        };
        command.envs(environment.iter().copied());
        let output = command.arg(script).output().expect("the interpreter runs");
        assert!(
            output.status.success(),
            "{script} failed under {} ({}):\n{}{}",
            self.name(),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// The folder that has `stillpoint_core.so` for this Lua and nothing else; built if need be.
///
/// # Panics
///
/// If the build fails.
pub fn module_dir(version: LuaVersion) -> &'static Path {
    static DIRS: [OnceLock<PathBuf>; LuaVersion::ALL.len()] =
        [const { OnceLock::new() }; LuaVersion::ALL.len()];
    DIRS[version as usize].get_or_init(|| {
        let target = root().join("target/modules");
        let dir = target.join(profile()).join(version.feature());
        let lock = lock(&target);
        let features = format!("module,{}", version.feature());
        cargo_build(&target, &["--lib", "--features", &features]);
        let library = format!(
            "{}stillpoint_core{}",
            env::consts::DLL_PREFIX,
            env::consts::DLL_SUFFIX
        );
        replace(
            &target.join(profile()).join(library),
            &dir.join("stillpoint_core.so"),
        )
        .expect("the module is copied");
        drop(lock);
        dir
    })
}

/// A Lua 5.5 interpreter, from the sources that come with the crates; built if need be.
fn built_lua55() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let target = root().join("target/modules");
        let file = target.join(profile()).join("lua55/lua5.5");
        let lock = lock(&target);
        cargo_build(
            &target,
            &["--example", "host", "--features", "vendored,lua55"],
        );
        replace(&target.join(profile()).join("examples/host"), &file)
            .expect("the interpreter is copied");
        drop(lock);
        file
    })
}

/// The folder of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this crate is a member")
}

/// Folder of cargo's output; as optimised as this test is.
fn profile() -> &'static str {
    if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    }
}

/// Waits until no other process builds here.
fn lock(target: &Path) -> File {
    fs::create_dir_all(target).expect("the target directory is made");
    let file = File::create(target.join(".stillpoint-tests-lock")).expect("the lock file is made");
    file.lock().expect("the lock is taken");
    file
}

fn cargo_build(target: &Path, arguments: &[&str]) {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(root())
        .args([
            "build",
            "--quiet",
            "-p",
            "stillpoint-core",
            "--no-default-features",
        ])
        .args(arguments)
        .arg("--target-dir")
        .arg(target);
    if profile() == "release" {
        cargo.arg("--release");
    }
    let output = cargo.output().expect("cargo runs");
    assert!(
        output.status.success(),
        "{cargo:?} failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Copies a file in one step, so that a process that has the old one mapped keeps it; an equal one stays.
fn replace(from: &Path, to: &Path) -> io::Result<()> {
    let new = fs::read(from)?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    let folder = to.parent().expect("a file is in a folder");
    fs::create_dir_all(folder)?;
    let staged = folder.join(".staged");
    fs::copy(from, &staged)?;
    fs::rename(&staged, to)
}

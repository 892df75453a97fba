//! The built program, and a real server for a test.

use std::{
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    sync::OnceLock,
};

use tempfile::TempDir;

use crate::lua_modules::root;

/// `stillpoint serve` in a fresh directory; killed when dropped.
pub struct Server {
    directory: TempDir,
    process: Child,
    /// Kept open: a server that logs must not find its stderr closed.
    _log: BufReader<ChildStderr>,
}

impl Server {
    /// Starts it, and returns once it serves.
    ///
    /// # Panics
    ///
    /// If it does not, with what it said.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory is made");
        let mut process = Command::new(program())
            .args(["serve", "--data-dir"])
            .arg(directory.path())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut log = BufReader::new(process.stderr.take().expect("it has a stderr"));
        let mut told = String::new();
        while !told.contains("serving") {
            let read = log.read_line(&mut told).expect("the log is text");
            assert!(read > 0, "the server ended before it served: {told}");
        }
        Server {
            directory,
            process,
            _log: log,
        }
    }

    /// Its data directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where clients find it.
    pub fn url(&self) -> String {
        format!(
            "unix:{}",
            self.directory().join("stillpoint.sock").display()
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The built `stillpoint`, as optimised as this test is; built if need be.
///
/// # Panics
///
/// If the build fails.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        // Tests are in TARGET/PROFILE/deps.
        let test = env::current_exe().expect("this test is a file");
        let folder = test.ancestors().nth(2).expect("it is in a folder");
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .current_dir(root())
            .args([
                "build",
                "--quiet",
                "-p",
                "stillpoint-cli",
                "--bin",
                "stillpoint",
            ])
            .arg("--target-dir")
            .arg(folder.parent().expect("a profile is in a folder"));
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        let output = cargo.output().expect("cargo runs");
        assert!(
            output.status.success(),
            "{cargo:?} failed:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        folder.join(format!("stillpoint{}", env::consts::EXE_SUFFIX))
    })
}

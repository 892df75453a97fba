//! The disk that fails: `shim.c`, compiled here and preloaded into the server.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use stillpoint_tests::server::Setup;

/// A call that fails.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// `write`, `fdatasync` or `fsync`.
    pub call: &'static str,
    /// Which one of them, from 1, since the server's start.
    pub nth: u32,
    /// What it gives.
    pub errno: i32,
    /// Half of a write gets through.
    pub torn: bool,
}

impl Failure {
    /// The same server with such a disk.
    pub fn of(self, setup: &Setup) -> Setup {
        let setup = setup
            .with_env("LD_PRELOAD", library())
            .with_env("SHIM_CALL", self.call)
            .with_env("SHIM_NTH", self.nth.to_string())
            .with_env("SHIM_ERRNO", self.errno.to_string())
            .with_env("SHIM_CALLS", calls_file(setup));
        if self.torn {
            setup.with_env("SHIM_TORN", "1")
        } else {
            setup
        }
    }
}

/// What was called on the log behind the call that failed; `None`: none has failed.
pub fn calls_behind_failure(setup: &Setup) -> Option<Vec<String>> {
    let text = fs::read_to_string(calls_file(setup)).unwrap_or_default();
    let mut lines = text.lines().map(str::to_owned);
    lines.find(|line| line.ends_with(" failed"))?;
    Some(lines.collect())
}

fn calls_file(setup: &Setup) -> PathBuf {
    setup.directory().with_extension("calls")
}

/// Removes the record of calls.
pub fn clean_up(setup: &Setup) {
    fs::remove_file(calls_file(setup)).unwrap();
}

fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/disk/shim.c");
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libfailing_disk.so");
        let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
        let status = Command::new(compiler)
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .arg(&library)
            .arg(source)
            .args(["-ldl", "-lpthread"])
            .status()
            .expect("a C compiler is installed");
        assert!(status.success(), "the shim does not compile");
        library
    })
}

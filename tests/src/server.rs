//! The built program, and a real server for a test.

use std::{
    env,
    ffi::OsString,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, OnceLock},
    thread,
};

use parking_lot::{Condvar, Mutex};
use rustix::process::{Pid, Signal, kill_process};
use stillpoint_client::{AdminClient, Client, Config};
use tempfile::TempDir;

use crate::lua_modules::root;

/// How a server is started: its data directory, which outlives it, and its flags.
#[derive(Clone, Debug)]
pub struct Setup {
    directory: Arc<TempDir>,
    flags: Vec<String>,
    environment: Vec<(OsString, OsString)>,
    file_bytes_max: Option<u64>,
}

impl Setup {
    /// A fresh data directory.
    ///
    /// # Panics
    ///
    /// If none can be made.
    pub fn new() -> Self {
        Self::within(&env::temp_dir())
    }

    /// A fresh data directory below a folder.
    ///
    /// # Panics
    ///
    /// If none can be made.
    pub fn within(folder: &Path) -> Self {
        let directory = tempfile::tempdir_in(folder).expect("a directory is made");
        Setup {
            directory: Arc::new(directory),
            flags: Vec::new(),
            environment: Vec::new(),
            file_bytes_max: None,
        }
    }

    /// The same with one more flag, e.g. `--engine=memory`.
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// The same directory and flags with one more environment variable.
    pub fn with_env(&self, name: &str, value: impl Into<OsString>) -> Self {
        let mut environment = self.environment.clone();
        environment.push((name.into(), value.into()));
        Setup {
            directory: self.directory.clone(),
            flags: self.flags.clone(),
            environment,
            file_bytes_max: self.file_bytes_max,
        }
    }

    /// The same on a disk that is full as soon as a file has so many bytes.
    pub fn with_files_up_to(mut self, bytes: u64) -> Self {
        self.file_bytes_max = Some(bytes);
        self
    }

    /// The data directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts a server, and returns once it serves.
    ///
    /// # Panics
    ///
    /// If it does not, with what it said.
    pub fn start(&self) -> Server {
        self.try_start()
            .unwrap_or_else(|(status, said)| panic!("the server ended with {status}:\n{said}"))
    }

    /// Starts a server, and returns once it serves, or has ended without having done so: then gives how it ended and what
    /// it said.
    ///
    /// # Panics
    ///
    /// If there is no such program.
    pub fn try_start(&self) -> Result<Server, (ExitStatus, String)> {
        let mut server = self.spawn();
        if server.log.wait_for("serving") {
            return Ok(server);
        }
        let status = server.process.wait().expect("it is our child");
        Err((status, server.log()))
    }

    /// Starts a server, and returns at once.
    ///
    /// # Panics
    ///
    /// If there is no such program.
    pub fn spawn(&self) -> Server {
        let mut command = match self.file_bytes_max {
            Some(bytes) => program_with_files_up_to(bytes),
            None => Command::new(program()),
        };
        let mut process = command
            .args(["serve", "--data-dir"])
            .arg(self.directory())
            .args(&self.flags)
            .envs(self.environment.iter().cloned())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stderr = process.stderr.take().expect("it has a stderr");
        Server {
            directory: self.directory.clone(),
            process,
            log: Log::read(stderr),
        }
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

/// A running `stillpoint serve`; killed when dropped.
#[derive(Debug)]
pub struct Server {
    directory: Arc<TempDir>,
    process: Child,
    log: Arc<Log>,
}

impl Server {
    /// Starts one in a fresh directory, and returns once it serves.
    ///
    /// # Panics
    ///
    /// If it does not, with what it said.
    pub fn start() -> Self {
        Setup::new().start()
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

    /// A client of it.
    ///
    /// # Panics
    ///
    /// If it cannot connect.
    pub fn client(&self, namespace: &str) -> Client {
        Client::connect(Config::new(self.url(), namespace)).expect("the server answers")
    }

    /// Its operator's port.
    ///
    /// # Panics
    ///
    /// If it does not answer.
    pub fn admin(&self) -> AdminClient {
        let url = format!("unix:{}", self.directory().join("admin.sock").display());
        AdminClient::connect(&url, std::time::Duration::from_secs(10)).expect("the server answers")
    }

    /// Ends it with SIGKILL, wherever it is.
    ///
    /// # Panics
    ///
    /// If it had ended by itself.
    pub fn kill(mut self) {
        let ended = self.process.try_wait().expect("it is our child");
        assert_eq!(ended, None, "the server ended by itself: {}", self.log());
        self.process.kill().expect("it can be killed");
        self.process.wait().expect("it is our child");
    }

    /// Asks it to end, with SIGTERM, and waits for that.
    ///
    /// # Panics
    ///
    /// If it cannot be asked.
    pub fn terminate(mut self) -> ExitStatus {
        let pid = Pid::from_child(&self.process);
        kill_process(pid, Signal::TERM).expect("the signal is sent");
        self.process.wait().expect("it is our child")
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        self.log.state.lock().text.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!("the server said:\n{}", self.log());
        }
    }
}

/// What a server says, read as it says it, so that it never waits for its reader.
#[derive(Debug, Default)]
struct Log {
    state: Mutex<LogState>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct LogState {
    text: String,
    ended: bool,
}

impl Log {
    fn read(from: impl std::io::Read + Send + 'static) -> Arc<Log> {
        let log = Arc::new(Log::default());
        let writer = log.clone();
        thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                let mut state = writer.state.lock();
                state.text.push_str(&line);
                state.text.push('\n');
                writer.grown.notify_all();
            }
            writer.state.lock().ended = true;
            writer.grown.notify_all();
        });
        log
    }

    /// Waits until this is said, or all is; whether it was said.
    fn wait_for(&self, text: &str) -> bool {
        let mut state = self.state.lock();
        self.grown.wait_while(&mut state, |state| {
            !state.text.contains(text) && !state.ended
        });
        state.text.contains(text)
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
            // The whole workspace, so that its parts are those that the tests were built with.
            .args(["build", "--quiet", "--workspace", "--bin", "stillpoint"])
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

/// The built `stillpoint`, on a disk that is full as soon as a file has so many bytes: the system refuses the write that
/// would be one too many. It needs no rights, as a small file system would.
pub fn program_with_files_up_to(bytes: u64) -> Command {
    let mut shell = Command::new("sh");
    // The shell counts blocks of 512 bytes. The signal would end the program before it could say anything.
    let script = format!(
        "trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"",
        bytes / 512
    );
    shell.args(["-c", &script]).arg(program());
    shell
}

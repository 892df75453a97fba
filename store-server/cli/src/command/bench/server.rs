//! The server that is measured: one of our own, or one that runs.

use std::{
    env, fs, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use stillpoint_client::{AdminClient, Client, Config};
use tempfile::TempDir;

use super::{NAMESPACE, plan::Plan};
use crate::failure::Failure;

/// Longest time an operation may take before the run fails.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long one attempt to connect to our own server goes on.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long our own server may take to begin.
const START_MAX: Duration = Duration::from_secs(20);

/// Where the server is.
#[derive(Debug)]
pub struct Target {
    /// Its data port.
    pub url: String,
    admin: String,
    own: Option<OwnServer>,
}

impl Target {
    /// A server that somebody else runs.
    pub fn running(url: &str, admin: &str) -> Target {
        Target {
            url: url.into(),
            admin: admin.into(),
            own: None,
        }
    }

    /// Starts a server of our own in a fresh directory below `parent`.
    pub fn start(parent: Option<&Path>) -> Result<Target, Failure> {
        let own = OwnServer::start(parent.unwrap_or(&env::temp_dir()))?;
        let url = |socket| format!("unix:{}", own.data_dir().join(socket).display());
        let mut target = Target {
            url: url("stillpoint.sock"),
            admin: url("admin.sock"),
            own: Some(own),
        };
        target.wait_until_it_serves()?;
        Ok(target)
    }

    fn wait_until_it_serves(&mut self) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            let connected = self.connect();
            let Some(own) = self.own.as_mut().filter(|_| connected.is_err()) else {
                return connected.map(drop);
            };
            if own.process.try_wait()?.is_some() || begun.elapsed() > START_MAX {
                return Err(Failure::operation("the server does not start")
                    .hint(format_args!("it said: {}", own.complaints())));
            }
        }
    }

    /// Sees that the server answers and allows what is planned; returns its version.
    pub fn check(&self, plan: &Plan) -> Result<String, Failure> {
        let limits = self.connect()?.info().limits;
        if let Some(in_flight) = plan.in_flight.iter().max()
            && *in_flight > limits.max_in_flight
        {
            return Err(Failure::usage(format_args!(
                "the server allows {} operations in flight on a connection, not {in_flight}",
                limits.max_in_flight
            )));
        }
        if let Some(size) = plan.sizes.iter().max()
            && u64::from(*size) > limits.max_value_bytes
        {
            return Err(Failure::usage(format_args!(
                "the server allows values of {} bytes, not {size}",
                limits.max_value_bytes
            )));
        }
        Ok(limits.server_version)
    }

    /// Connects to the data port.
    pub fn connect(&self) -> Result<Client, Failure> {
        let mut config = Config::new(&self.url, NAMESPACE);
        config.client_name = "stillpoint bench".into();
        config.deadline = DEADLINE;
        if self.own.is_some() {
            config.connect_patience = PATIENCE;
        }
        Client::connect(config).map_err(|error| match self.own {
            Some(_) => Failure::from(error),
            None => Failure::from(error).hint("is it running? --url and --admin say where it is"),
        })
    }

    /// Connects to the operator's port.
    pub fn connect_admin(&self) -> Result<AdminClient, Failure> {
        Ok(AdminClient::connect(&self.admin, DEADLINE)?)
    }
}

/// `stillpoint serve` in a fresh directory, killed in the end: nobody needs what it has.
#[derive(Debug)]
struct OwnServer {
    process: Child,
    directory: TempDir,
}

impl OwnServer {
    fn start(parent: &Path) -> Result<OwnServer, Failure> {
        let directory = tempfile::Builder::new()
            .prefix("stillpoint-bench-")
            .tempdir_in(parent)
            .map_err(|error| Failure::usage(error).at(parent.display()))?;
        let log = fs::File::create(directory.path().join(LOG))?;
        let mut command = Command::new(env::current_exe()?);
        command
            .args(["serve", "--data-dir"])
            .arg(directory.path().join(DATA_DIR))
            .args(["--log-level", "warn"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        for (name, _) in env::vars_os() {
            // Measured are the defaults.
            if name.as_encoded_bytes().starts_with(b"STILLPOINT_") {
                command.env_remove(name);
            }
        }
        ends_with_us(&mut command);
        Ok(OwnServer {
            process: command.spawn()?,
            directory,
        })
    }

    fn data_dir(&self) -> PathBuf {
        self.directory.path().join(DATA_DIR)
    }

    fn complaints(&self) -> String {
        match fs::read_to_string(self.directory.path().join(LOG)) {
            Ok(text) if !text.trim().is_empty() => text.trim().into(),
            _ => "nothing".into(),
        }
    }
}

/// What the server keeps, below its directory.
const DATA_DIR: &str = "data";

/// What it prints.
const LOG: &str = "server.log";

impl Drop for OwnServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Has the process killed when this one ends, however it ends. To be called on the main thread, as it is the thread's end
/// that counts.
pub fn ends_with_us(command: &mut Command) {
    let set = || {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
            .map_err(io::Error::from)
    };
    // SAFETY: between fork and exec it makes one system call, and neither allocates nor locks.
    unsafe {
        command.pre_exec(set);
    }
}

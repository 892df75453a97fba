//! The server that is measured: one of our own, or one that runs.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use stillpoint_client::{AdminClient, Client, Config};
use tempfile::TempDir;

use super::{NAMESPACE, plan::Plan};
use crate::{
    failure::Failure,
    own_program::{self, OwnProcess},
};

/// Longest time an operation may take before the run fails.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long one attempt to connect to our own server goes on.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long our own server may take to begin.
const START_MAX: Duration = Duration::from_secs(20);

/// The same where it has much to read first.
const RESTART_MAX: Duration = Duration::from_secs(1800);

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
        target.wait_until_it_serves(START_MAX)?;
        Ok(target)
    }

    fn wait_until_it_serves(&mut self, start_max: Duration) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            let connected = self.connect();
            let Some(own) = self.own.as_mut().filter(|_| connected.is_err()) else {
                return connected.map(drop);
            };
            if own.process.ended()?.is_some() || begun.elapsed() > start_max {
                return Err(Failure::operation("the server does not start")
                    .hint(format_args!("it said: {}", own.complaints())));
            }
        }
    }

    /// Kills our own server with SIGKILL and starts it again, without its view if that is wished; gives how long it took
    /// until it served.
    pub fn kill_and_start(&mut self, without_view: bool) -> Result<Duration, Failure> {
        let own = self.own.as_mut().ok_or_else(not_ours)?;
        own.process.kill()?;
        if without_view {
            fs::remove_dir_all(own.data_dir().join(VIEW))?;
        }
        let begun = Instant::now();
        own.process = spawn(&own.directory)?;
        self.wait_until_it_serves(RESTART_MAX)?;
        Ok(begun.elapsed())
    }

    /// A path beside our own server's data, removed with it.
    pub fn beside(&self, name: &str) -> Result<PathBuf, Failure> {
        let own = self.own.as_ref().ok_or_else(not_ours)?;
        Ok(own.directory.path().join(name))
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

    /// The server's version.
    pub fn version(&self) -> Result<String, Failure> {
        Ok(self.connect()?.info().limits.server_version)
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
    process: OwnProcess,
    directory: TempDir,
}

impl OwnServer {
    fn start(parent: &Path) -> Result<OwnServer, Failure> {
        let directory = tempfile::Builder::new()
            .prefix("stillpoint-bench-")
            .tempdir_in(parent)
            .map_err(|error| Failure::usage(error).at(parent.display()))?;
        Ok(OwnServer {
            process: spawn(&directory)?,
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

fn not_ours() -> Failure {
    Failure::usage("it takes a server of our own")
}

fn spawn(directory: &TempDir) -> Result<OwnProcess, Failure> {
    let log = fs::File::create(directory.path().join(LOG))?;
    // Measured are the defaults: the environment's settings do not reach it.
    let mut command = own_program::command()?;
    command
        .args(["serve", "--data-dir"])
        .arg(directory.path().join(DATA_DIR))
        .args(["--log-level", "warn"])
        .stdout(Stdio::null())
        .stderr(log);
    Ok(OwnProcess::start(&mut command)?)
}

/// The view, in what the server keeps.
const VIEW: &str = "view";

/// What the server keeps, below its directory.
const DATA_DIR: &str = "data";

/// What it prints.
const LOG: &str = "server.log";

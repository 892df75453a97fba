//! `stillpoint backup pull`: takes a backup of the running store to a disk of this machine.

use std::{thread, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use clap::Args;
use stillpoint_client::AdminClient;
use stillpoint_proto::v1::{PullBackupRequest, Reason, StoreError};
use stillpoint_store_server::backup::{Found, Manifest, PullOptions, Receiving, Taken, Target};
use tokio::runtime::Runtime;

use super::{EXIT_CODES, create::parse_label};
use crate::{
    backup::{key::KeyFile, rate::parse_rate, target::absolute, words::Summary, work::Meter},
    failure::Failure,
    management::options::user,
    output::{print_json, print_rows},
    port::AdminPort,
    settings::kind::size_text,
};

const AFTER_HELP: &str = "\
The server reads the backup and serves meanwhile; this command stores it, in a
place that the server does not reach, and encrypts it here if there is a key. A
server does one such job at a time.

When the connection is lost the backup is gone on with, for some time by this
command itself, later by the same command typed again: what came whole is kept and
checked. The server keeps its log only as long as log.retention_secs and
log.retention_bytes say; after that, or after a restore, the backup is begun anew.

Examples:
  stillpoint backup pull --to ./backups
  stillpoint backup pull --to ./backups --incremental
  stillpoint backup pull --to ./backups --rate unlimited --key-file ./backup.key
  stillpoint backup pull --to ./backups --admin http://10.0.0.5:7402";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    /// Where to: a directory of this machine, or the URL of a bucket
    #[arg(
        long,
        env = "STILLPOINT_BACKUP",
        hide_env_values = true,
        value_name = "DIR"
    )]
    to: String,
    /// Only what was committed since the newest backup there
    #[arg(long)]
    incremental: bool,
    /// A name for it, by which it can be restored
    #[arg(long, value_name = "NAME", value_parser = parse_label)]
    label: Option<String>,
    /// Read at most so many bytes a second, e.g. 50MiB, or `unlimited` [default: the server's backup.bytes_per_second]
    #[arg(long, value_name = "SIZE", value_parser = parse_rate)]
    rate: Option<u64>,
    /// Begin anew, and throw away what there is of one that was cut off
    #[arg(long)]
    restart: bool,
    /// Who asks, for the server's log [default: the user of the system]
    #[arg(long = "as", value_name = "NAME")]
    actor: Option<String>,
    #[command(flatten)]
    key: KeyFile,
    #[command(flatten)]
    port: AdminPort,
}

/// Takes it.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let target = Target::open(&absolute(&options.to)?)?.with_key(options.key.read()?);
    let what = PullOptions {
        incremental: options.incremental,
        label: options.label.unwrap_or_default(),
        restart: options.restart,
    };
    let meter = Meter::new("pulling");
    let runtime = Runtime::new()?;
    let tell = |progress| meter.tell(&progress);
    let (receiving, found) = runtime.block_on(Receiving::open(&target, what, &tell))?;
    match found {
        Found::Nothing => {}
        Found::Files {
            count,
            stored_bytes,
        } => meter.note(&format!(
            "going on with a backup that was cut off: {} in {count} files are there",
            size_text(stored_bytes)
        )),
        Found::Unusable(why) => meter.note(&format!("begun anew, and not gone on with: {why}")),
    }
    let pull = Pull {
        port: options.port,
        rate: options.rate.unwrap_or_default(),
        actor: options.actor.unwrap_or_else(user),
        runtime,
        // What was told so far was the checking of what is there.
        meter: Meter::new("pulling"),
        receiving,
    };
    drop(meter);
    let manifest = pull.run()?;
    let summary = Summary::from(&manifest);
    match json {
        true => print_json(&summary.to_value(), false)?,
        false => print_rows(summary.rows())?,
    }
    Ok(())
}

/// A pull, over as many connections as it takes.
struct Pull<'a> {
    port: AdminPort,
    rate: u64,
    actor: String,
    runtime: Runtime,
    meter: Meter,
    receiving: Receiving<'a>,
}

/// How one connection ended.
enum Ended {
    /// The backup is complete.
    Complete(Box<Manifest>),
    /// It has to be asked for again, for this reason.
    Again(String),
    /// The server or the connection failed; whether something had come.
    Cut { error: StoreError, came: bool },
}

impl Pull<'_> {
    fn run(mut self) -> Result<Manifest, Failure> {
        let mut port = self.port.connect()?;
        let mut has_come = false;
        let mut waits = waits();
        loop {
            let error = match self.pull(&mut port)? {
                Ended::Complete(manifest) => return Ok(*manifest),
                Ended::Again(why) => {
                    self.meter.note(&format!("begun anew: {why}"));
                    continue;
                }
                Ended::Cut { error, came } => {
                    if came {
                        waits = self::waits();
                    }
                    has_come |= came;
                    error
                }
            };
            if let Some(why) = self.runtime.block_on(self.receiving.refused(&error))? {
                self.meter.note(&format!("begun anew: {why}"));
                continue;
            }
            if !has_come || !is_passing(&error) {
                return Err(self.give_up(error));
            }
            self.meter.note(&error.message);
            port = loop {
                let Some(wait) = waits.next() else {
                    return Err(self.give_up(error));
                };
                thread::sleep(wait);
                if let Ok(port) = self.port.connect() {
                    break port;
                }
            };
        }
    }

    /// Asks, and takes what comes, to the end of the answer.
    fn pull(&mut self, port: &mut AdminClient) -> Result<Ended, Failure> {
        let request = PullBackupRequest {
            bytes_per_second: self.rate,
            actor: self.actor.clone(),
            ..self.receiving.request()
        };
        let mut came = false;
        let messages = match port.pull_backup(request) {
            Ok(messages) => messages,
            Err(error) => return Ok(Ended::Cut { error, came }),
        };
        for message in messages {
            let message = match message {
                Ok(message) => message,
                Err(error) => return Ok(Ended::Cut { error, came }),
            };
            came = true;
            let incarnation = message.header.unwrap_or_default().incarnation;
            // A kind that is not known is told by a newer server.
            let Some(told) = message.kind else { continue };
            match self
                .runtime
                .block_on(self.receiving.take(told, incarnation))?
            {
                Taken::More => {}
                Taken::Again(why) => return Ok(Ended::Again(why)),
                Taken::Complete(manifest) => return Ok(Ended::Complete(manifest)),
            }
            if let Some(progress) = self.receiving.progress() {
                self.meter.tell(&progress);
            }
        }
        let message = "the store ended the answer before the backup was complete";
        let error = StoreError::new(Reason::Unavailable, message);
        Ok(Ended::Cut { error, came })
    }

    fn give_up(&self, error: StoreError) -> Failure {
        let failure = Failure::from(error);
        match self.receiving.progress() {
            Some(_) => failure.hint("what came is kept: the same command goes on with it"),
            None => failure,
        }
    }
}

/// Whether it may go away by itself. When a connection was lost, the server may think of the pull before as still going on.
fn is_passing(error: &StoreError) -> bool {
    matches!(
        error.reason(),
        Reason::Unavailable | Reason::DeadlineExceeded | Reason::RateLimited
    )
}

/// How long to wait between tries: long enough for a server to be started again.
fn waits() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(250))
        .with_max_delay(Duration::from_secs(10))
        .with_max_times(9)
        .with_jitter()
        .build()
}

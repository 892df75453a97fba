//! `stillpoint backup create`: takes a backup of the running store.

use clap::Args;
use stillpoint_proto::{
    name::check_label,
    v1::{BackupPhase, BackupProgress, CreateBackupRequest, create_backup_response::Kind},
};

use super::EXIT_CODES;
use crate::{
    backup::{
        key::KeyFile,
        rate::parse_rate,
        target::absolute,
        words::Summary,
        work::{Meter, RECORDS},
    },
    failure::Failure,
    management::options::user,
    output::{print_json, print_rows},
    port::AdminPort,
};

const AFTER_HELP: &str = "\
The server writes the backup itself, and serves meanwhile; the target is named as
the server reaches it. A server takes one backup at a time. Ctrl-C gives it up:
then there is none, and what was written of it is removed by `backup expire`.

An incremental backup continues the newest one there. It needs the part of the log
since then: take them more often than log.retention_secs and log.retention_bytes
remove the log.

With a key the files are encrypted; the key's file is named as the server reaches
it, and `stillpoint backup key` makes one.

Examples:
  stillpoint backup create --to /mnt/backups/world1
  stillpoint backup create --to s3://backups/world1 --incremental
  stillpoint backup create --to s3://backups/world1 --label before-2.0 --rate 50MiB
  stillpoint backup create --to /mnt/backups/world1 --json | jq -r .id";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    /// Where to: a directory, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX
    #[arg(
        long,
        env = "STILLPOINT_BACKUP",
        hide_env_values = true,
        value_name = "URL"
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
    let request = CreateBackupRequest {
        target: absolute(&options.to)?,
        incremental: options.incremental,
        label: options.label.unwrap_or_default(),
        bytes_per_second: options.rate.unwrap_or_default(),
        actor: options.actor.unwrap_or_else(user),
        key_file: options.key.for_server()?,
    };
    let mut port = options.port.connect()?;
    let meter = Meter::new("backing up");
    let mut done = None;
    for told in port.create_backup(request)? {
        match told?.kind {
            Some(Kind::Progress(progress)) => show(&meter, &progress),
            Some(Kind::Done(summary)) => done = Some(summary),
            // Told by a newer server.
            None => {}
        }
    }
    drop(meter);
    let done = done.ok_or_else(|| {
        Failure::operation("the store ended the answer before the backup was complete")
            .hint("it may be all the same: see `stillpoint backup list`")
    })?;
    let summary = Summary::from(done);
    match json {
        true => print_json(&summary.to_value(), false)?,
        false => print_rows(summary.rows())?,
    }
    Ok(())
}

/// How far it is.
pub fn show(meter: &Meter, progress: &BackupProgress) {
    let doing = match progress.phase() {
        BackupPhase::Records | BackupPhase::Unspecified => RECORDS,
        BackupPhase::Log => "log",
        BackupPhase::Finishing => "finishing",
    };
    meter.show(doing, progress.bytes, progress.bytes_total);
}

/// Reads a label.
pub fn parse_label(text: &str) -> Result<String, String> {
    check_label(text).map(|()| text.into())
}

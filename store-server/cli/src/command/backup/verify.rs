//! `stillpoint backup verify`: whether a backup could be restored.

use std::{env, path::PathBuf};

use clap::Args;
use rmpv::Value;
use stillpoint_proto::name::LATEST;
use stillpoint_store_server::backup::{self, Manifest, Verify, VerifyReport};

use super::EXIT_CODES;
use crate::{
    backup::{
        key::KeyFile,
        target::From,
        words::backups,
        work::{self, Meter},
    },
    command::status::hex,
    failure::Failure,
    output::{print_json, print_line},
    port::AdminPort,
    record::object,
    settings::kind::size_text,
};

const AFTER_HELP: &str = "\
Reads every file that a restore would need, and compares its checksum. With
--restore it is restored for trial into a scratch directory, its state hash is
compared with that of the store when the commit was made, and the directory is
removed again: that takes as much room as the store does, and the key, if the
backup is encrypted. Checksums need no key.

With --live the state hash that the backup's manifest has is compared with the one
that the running store's log has for the backup's newest commit. The log has to reach
back to that, and the store must not have been restored since. That the backup's files
come to that hash is seen by --restore alone: give both to compare their records with
the running store.

Examples:
  stillpoint backup verify --from /mnt/backups/world1
  stillpoint backup verify before-2.0 --from s3://backups/world1
  stillpoint backup verify --from s3://backups/world1 --restore --scratch /mnt/scratch
  stillpoint backup verify --from /mnt/backups/world1 --restore --live";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    /// The backup, by its name or label
    #[arg(value_name = "BACKUP", default_value = LATEST)]
    backup: String,
    /// Restore it for trial
    #[arg(long)]
    restore: bool,
    /// Where there is room for that [default: the directory for temporary files]
    #[arg(long, value_name = "DIR", requires = "restore")]
    scratch: Option<PathBuf>,
    /// Compare its state hash with that of the running store; with --restore, its records
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    port: AdminPort,
    #[command(flatten)]
    key: KeyFile,
    #[command(flatten)]
    target: From,
}

/// Verifies it.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let target = options.target.open()?.with_key(options.key.read()?);
    let mut name = options.backup;
    let live = match options.live {
        false => None,
        true => {
            let backup = work::run(backup::describe(&target, &name))?;
            let hash = compare(&backup, &options.port)?;
            // The newest may be another one by now.
            name = backup.id;
            Some(hash)
        }
    };
    let how = match options.restore {
        false => Verify::Checksums,
        true => Verify::TrialRestore {
            scratch: options.scratch.unwrap_or_else(env::temp_dir),
            reserve_bytes: 0,
        },
    };
    let report = {
        let meter = Meter::new("verifying");
        let tell = |progress| meter.tell(&progress);
        work::run(backup::verify(&target, &name, &how, &tell))?
    };
    match json {
        true => print_json(&to_value(&report, live), false)?,
        false => print_line(&describe(&report, options.restore, options.live))?,
    }
    Ok(())
}

/// Compares a backup with the running store; gives the state hash that they share.
fn compare(backup: &Manifest, port: &AdminPort) -> Result<String, Failure> {
    let mut port = port.connect()?;
    let live = port.status()?.header.unwrap_or_default();
    let (theirs, ours) = (hex(&live.store_id), backup.store_id.replace('-', ""));
    if theirs != ours {
        return Err(Failure::operation(format_args!(
            "backup {} is of store {ours}, the running store is {theirs}",
            backup.id
        ))
        .hint("name the other store with --admin"));
    }
    if live.incarnation != backup.incarnation {
        return Err(Failure::operation(format_args!(
            "backup {} is of incarnation {} of the store, which is incarnation {} now: one of them was restored, and their \
             commits are not the same",
            backup.id, backup.incarnation, live.incarnation
        ))
        .hint("compare a backup that was taken since"));
    }
    let hash = port.state_hash(backup.last_seq)?.state_hash;
    match &backup.state_hash {
        Some(own) if *own == hash => Ok(hash),
        Some(own) => Err(Failure::operation(format_args!(
            "backup {} is not what the running store was after commit {}: its state hash is {own}, that of the store was {hash}",
            backup.id, backup.last_seq
        ))
        .hint("take a full backup, and keep this one for whoever looks into it")),
        None => Err(Failure::operation(format_args!(
            "backup {} has no state hash to compare",
            backup.id
        ))),
    }
}

fn describe(report: &VerifyReport, restored: bool, compared: bool) -> String {
    let newest = report.backups.last().map_or("", String::as_str);
    let mut text = format!(
        "{newest} is sound: {} in {} files of {}",
        size_text(report.bytes),
        report.files,
        backups(report.backups.len())
    );
    if restored {
        text += &match &report.state_hash {
            Some(hash) => format!("; restored for trial, state hash {hash}"),
            None => "; restored for trial, without a state hash to compare with".to_owned(),
        };
    }
    if compared {
        text += "; the same as the running store was";
    }
    text
}

fn to_value(report: &VerifyReport, live: Option<String>) -> Value {
    let needed = report.backups.iter().map(|id| Value::from(id.as_str()));
    let hash = report.state_hash.as_deref();
    object([
        ("sound", true.into()),
        ("backups", Value::Array(needed.collect())),
        ("files", report.files.into()),
        ("bytes", report.bytes.into()),
        ("state_hash", hash.map_or(Value::Nil, Value::from)),
        ("live_state_hash", live.map_or(Value::Nil, Value::from)),
    ])
}

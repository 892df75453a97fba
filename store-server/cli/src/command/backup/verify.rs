//! `stillpoint backup verify`: whether a backup could be restored.

use std::{env, path::PathBuf};

use clap::Args;
use rmpv::Value;
use stillpoint_proto::name::LATEST;
use stillpoint_store_server::backup::{self, Verify, VerifyReport};

use super::EXIT_CODES;
use crate::{
    backup::{
        target::From,
        words::backups,
        work::{self, Meter},
    },
    failure::Failure,
    output::{print_json, print_line},
    record::object,
    settings::kind::size_text,
};

const AFTER_HELP: &str = "\
Reads every file that a restore would need, and compares its checksum. With
--restore it is restored for trial into a scratch directory, its state hash is
compared with that of the store when the commit was made, and the directory is
removed again: that takes as much room as the store does.

Examples:
  stillpoint backup verify --from /mnt/backups/world1
  stillpoint backup verify before-2.0 --from s3://backups/world1
  stillpoint backup verify --from s3://backups/world1 --restore --scratch /mnt/scratch";

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
    #[command(flatten)]
    target: From,
}

/// Verifies it.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let target = options.target.open()?;
    let how = match options.restore {
        false => Verify::Checksums,
        true => Verify::TrialRestore {
            scratch: options.scratch.unwrap_or_else(env::temp_dir),
        },
    };
    let report = {
        let meter = Meter::new("verifying");
        let tell = |progress| meter.tell(&progress);
        work::run(backup::verify(&target, &options.backup, &how, &tell))?
    };
    match json {
        true => print_json(&to_value(&report), false)?,
        false => print_line(&describe(&report, options.restore))?,
    }
    Ok(())
}

fn describe(report: &VerifyReport, restored: bool) -> String {
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
    text
}

fn to_value(report: &VerifyReport) -> Value {
    let needed = report.backups.iter().map(|id| Value::from(id.as_str()));
    let hash = report.state_hash.as_deref();
    object([
        ("sound", true.into()),
        ("backups", Value::Array(needed.collect())),
        ("files", report.files.into()),
        ("bytes", report.bytes.into()),
        ("state_hash", hash.map_or(Value::Nil, Value::from)),
    ])
}

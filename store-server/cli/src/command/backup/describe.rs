//! `stillpoint backup describe`: what a backup has, and which others it needs.

use clap::Args;
use stillpoint_proto::name::LATEST;
use stillpoint_store_server::backup::{self, Manifest, Target};

use super::EXIT_CODES;
use crate::{
    backup::{
        target::From,
        words::{Summary, namespace_text},
        work,
    },
    failure::Failure,
    management::words::{moment, time},
    output::{print_rows, print_text},
};

const AFTER_HELP: &str = "\
With --json: the whole manifest, with every file and its checksum.

Examples:
  stillpoint backup describe --from /mnt/backups/world1
  stillpoint backup describe before-2.0 --from s3://backups/world1 --json";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    /// The backup, by its name or label
    #[arg(value_name = "BACKUP", default_value = LATEST)]
    backup: String,
    #[command(flatten)]
    target: From,
}

/// Describes it.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let target = options.target.open()?;
    if json {
        let manifest = work::run(backup::describe(&target, &options.backup))?;
        let text = serde_json::to_string(&manifest).map_err(Failure::operation)?;
        return Ok(print_text(&(text + "\n"))?);
    }
    let (manifest, needed) = work::run(with_needed(&target, &options.backup))?;
    Ok(print_rows(rows(&manifest, &needed))?)
}

/// The backup, and those that it needs, the full one first.
async fn with_needed(
    target: &Target,
    what: &str,
) -> Result<(Manifest, Vec<String>), backup::BackupError> {
    let manifest = backup::describe(target, what).await?;
    let mut needed = Vec::new();
    let mut parent = manifest.parent.clone();
    while !parent.is_empty() {
        let of = backup::describe(target, &parent).await?;
        needed.insert(0, of.id);
        parent = of.parent;
    }
    Ok((manifest, needed))
}

fn rows(manifest: &Manifest, needed: &[String]) -> Vec<(&'static str, String)> {
    let mut rows = Summary::from(manifest).rows();
    rows.push((
        "taken",
        format!(
            "{}, in {}, by server {}",
            moment(manifest.begun_ms),
            time(manifest.ended_ms.saturating_sub(manifest.begun_ms)),
            manifest.server_version
        ),
    ));
    rows.push((
        "store",
        format!(
            "{}, incarnation {}",
            manifest.store_id, manifest.incarnation
        ),
    ));
    for (at, needed) in needed.iter().enumerate() {
        rows.push((if at == 0 { "needs" } else { "" }, needed.clone()));
    }
    for (at, (name, state)) in manifest.namespaces.iter().enumerate() {
        let text = namespace_text(name, state);
        rows.push((if at == 0 { "namespaces" } else { "" }, text));
    }
    for (at, mark) in manifest.marks.iter().enumerate() {
        let text = format!("{}: {}", mark.label, moment(mark.time_ms));
        rows.push((if at == 0 { "labels" } else { "" }, text));
    }
    rows
}

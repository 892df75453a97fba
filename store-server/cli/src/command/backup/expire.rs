//! `stillpoint backup expire`: removes backups that are no longer wanted.

use clap::Args;
use rmpv::Value;
use stillpoint_store_server::backup::{self, Expired, Keep};

use super::EXIT_CODES;
use crate::{
    backup::{target::From, words::backups, work},
    confirm,
    failure::Failure,
    output::{print_json, print_text},
    record::object,
    settings::kind::size_text,
};

const AFTER_HELP: &str = "\
Keeps the newest backup of each of so many hours, days, weeks and months, in UTC,
and what those need to be restored; removes the others, and the files of backups
that were never completed. The newest backup is always kept.

You are shown what would be removed, and asked. Where there is no terminal to ask
on, --yes has to be said.

Examples:
  stillpoint backup expire --from /mnt/backups/world1 --daily 7 --dry-run
  stillpoint backup expire --from s3://backups/world1 --hourly 24 --daily 7 \\
    --weekly 4 --monthly 12 --yes";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
#[group(id = "keep", required = true, multiple = true, args = ["hourly", "daily", "weekly", "monthly"])]
pub struct Options {
    /// Keep one for each of so many hours
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    hourly: u32,
    /// Keep one for each of so many days
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    daily: u32,
    /// Keep one for each of so many weeks
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    weekly: u32,
    /// Keep one for each of so many months
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    monthly: u32,
    /// Remove nothing, only say what would be
    #[arg(long)]
    dry_run: bool,
    /// Do not ask whether it is meant
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    target: From,
}

/// Removes them.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let target = options.target.open()?;
    let keep = Keep {
        hourly: options.hourly,
        daily: options.daily,
        weekly: options.weekly,
        monthly: options.monthly,
    };
    if !(options.yes || options.dry_run) {
        confirm::somebody_is_there("what would be removed")?;
        let would = work::run(backup::expire(&target, &keep, true))?;
        if !is_nothing(&would) {
            confirm::ask(&listed(&would), &question(&would))?;
        }
    }
    let expired = work::run(backup::expire(&target, &keep, options.dry_run))?;
    if json {
        return Ok(print_json(&to_value(&expired, options.dry_run), false)?);
    }
    let verb = match options.dry_run {
        true => "would be removed",
        false => "removed",
    };
    Ok(print_text(&format!(
        "{}{verb}: {}; kept: {}\n",
        listed(&expired),
        amount(&expired),
        backups(expired.kept.len())
    ))?)
}

fn is_nothing(expired: &Expired) -> bool {
    expired.removed.is_empty() && expired.leftovers.is_empty()
}

fn question(would: &Expired) -> String {
    format!("remove {}", amount(would))
}

fn amount(expired: &Expired) -> String {
    match (expired.removed.len(), expired.leftovers.len()) {
        (0, 0) => "nothing".into(),
        (removed, 0) => format!("{}, {}", backups(removed), size_text(expired.bytes)),
        (removed, leftovers) => format!(
            "{} and {leftovers} files of none, {}",
            backups(removed),
            size_text(expired.bytes)
        ),
    }
}

/// What goes, a line each.
fn listed(expired: &Expired) -> String {
    let removed = expired.removed.iter().map(|id| format!("  {id}\n"));
    let leftovers = expired.leftovers.iter();
    removed
        .chain(leftovers.map(|file| format!("  {file} (of a backup that was never completed)\n")))
        .collect()
}

fn to_value(expired: &Expired, dry_run: bool) -> Value {
    let texts = |texts: &[String]| {
        let values = texts.iter().map(|text| Value::from(text.as_str()));
        Value::Array(values.collect())
    };
    object([
        ("dry_run", dry_run.into()),
        ("kept", texts(&expired.kept)),
        ("removed", texts(&expired.removed)),
        ("leftovers", texts(&expired.leftovers)),
        ("bytes", expired.bytes.into()),
    ])
}

//! `stillpoint backup list`: the backups of a target.

use clap::Args;
use comfy_table::{CellAlignment, Table};
use stillpoint_store_server::backup::{self, Listing};

use super::EXIT_CODES;
use crate::{
    backup::{
        target::From,
        words::{Summary, backups},
        work,
    },
    failure::Failure,
    json,
    management::words::moment,
    output::{plain_table, print_table, print_text},
    settings::kind::size_text,
};

const AFTER_HELP: &str = "\
Lists the backups, oldest first. AS OF is the time of the newest commit in it. With
--json: one object a line. Ends with 1 if a manifest is damaged.

Examples:
  stillpoint backup list --from /mnt/backups/world1
  stillpoint backup list --from s3://backups/world1 --json | jq -r 'last.id'";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    #[command(flatten)]
    target: From,
}

/// Lists them.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let target = options.target.open()?;
    let listing = work::run(backup::list(&target))?;
    let summaries: Vec<_> = listing.backups.iter().map(Summary::from).collect();
    if json {
        let lines = summaries
            .iter()
            .map(|summary| json::to_string(&summary.to_value(), false) + "\n");
        print_text(&lines.collect::<String>())?;
    } else if summaries.is_empty() {
        eprintln!("no backups in {}", target.url());
    } else {
        print_table(&table(&summaries))?;
    }
    damage(&listing)
}

fn table(summaries: &[Summary]) -> Table {
    let mut table = plain_table();
    table.set_header(["BACKUP", "KIND", "AS OF", "RECORDS", "SIZE", "LABEL"]);
    for summary in summaries {
        table.add_row([
            summary.id.clone(),
            summary.kind.to_owned(),
            moment(summary.last_time_ms),
            summary.records.to_string(),
            size_text(summary.stored_bytes),
            summary.label.clone(),
        ]);
    }
    for number in [3, 4] {
        if let Some(column) = table.column_mut(number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Fails if there are backups that cannot be used.
fn damage(listing: &Listing) -> Result<(), Failure> {
    if listing.damaged.is_empty() {
        return Ok(());
    }
    let each = listing.damaged.iter().map(|error| format!("\n  {error}"));
    Err(Failure::operation(format_args!(
        "{} cannot be used:{}",
        backups(listing.damaged.len()),
        each.collect::<String>()
    )))
}

//! `stillpoint migrate status`: how the migrations of all collections are going.

use clap::Args;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use stillpoint_proto::v1::{MigrationPhase, MigrationStatus};

use super::EXIT_CODES;
use crate::{
    failure::Failure,
    json,
    management::words::moment,
    migrate::words::{name_of, phase_word, status_value},
    output::{is_terminal, plain_table, print_table, print_text},
    port::AdminPort,
};

const AFTER_HELP: &str = "\
VERSION is what reads give, NEWEST what was published. PHASE is
  none       nothing was applied yet
  rewriting  the records are rewritten in the background
  paused     an operator holds that up
  stopped    too many records could not be migrated
  rewritten  all records were gone through; it can still be rolled back
  finished   nobody goes back any more
SEEN of TOTAL are the records that the job has looked at; FAILED are those that it could
not migrate: they are in quarantine until they are mended. A namespace that has no line of
its own goes with that of _any. Below the table is what keeps a job from going on, and who
speaks another version. With --json: one object a line.

Examples:
  stillpoint migrate status
  watch stillpoint migrate status
  stillpoint migrate status --json | jq -r 'select(.phase == \"stopped\") | .collection'";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    #[command(flatten)]
    port: AdminPort,
}

/// Shows them.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let migrations = options.port.connect()?.migrations()?.migrations;
    if json {
        let lines = migrations
            .iter()
            .map(|status| json::to_string(&status_value(status), false) + "\n");
        return Ok(print_text(&lines.collect::<String>())?);
    }
    if migrations.is_empty() {
        eprintln!("no migrations: `stillpoint migrate new` begins one");
        return Ok(());
    }
    print_table(&table(&migrations))?;
    Ok(print_text(
        &migrations.iter().map(notes).collect::<String>(),
    )?)
}

fn table(migrations: &[MigrationStatus]) -> Table {
    let mut table = plain_table();
    if is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.set_header([
        "COLLECTION",
        "VERSION",
        "NEWEST",
        "PHASE",
        "SEEN",
        "TOTAL",
        "REWRITTEN",
        "FAILED",
        "APPLIED",
        "WHO",
    ]);
    for status in migrations {
        let applied = match status.applied_ms {
            0 => "–".into(),
            ms => moment(ms),
        };
        table.add_row([
            name_of(status),
            status.version.to_string(),
            status.newest_published.to_string(),
            phase_word(status.phase()).into(),
            status.seen.to_string(),
            total(status),
            status.rewritten.to_string(),
            status.failed.to_string(),
            applied,
            status.actor.clone(),
        ]);
    }
    for number in [1, 2, 4, 5, 6, 7] {
        if let Some(column) = table.column_mut(number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The total is estimated, and known only once the job has seen all.
fn total(status: &MigrationStatus) -> String {
    match status.phase() {
        MigrationPhase::Rewriting | MigrationPhase::Paused | MigrationPhase::Stopped => {
            format!("~{}", status.total.max(status.seen))
        }
        _ => status.seen.to_string(),
    }
}

/// What does not fit into a table.
fn notes(status: &MigrationStatus) -> String {
    let name = name_of(status);
    let mut text = String::new();
    if !status.stopped_why.is_empty() {
        text += &format!("{name} does not go on: {}\n", status.stopped_why);
    }
    // Whoever could not be migrated was mended or deleted before the end.
    if status.failed > 0 && status.phase() != MigrationPhase::Finished {
        text += &format!("{name}: see `stillpoint migrate quarantine {name}`\n");
    }
    if !status.other_sessions.is_empty() {
        let spoken_by = status.other_sessions.iter();
        let spoken_by = spoken_by.map(|session| format!("  {session}\n"));
        text += &format!("{name}: another version is spoken by\n");
        text.extend(spoken_by);
    }
    text
}

#[cfg(test)]
mod tests {
    use stillpoint_proto::v1::CollectionName;

    use super::*;
    use crate::output::table_text;

    #[test]
    fn the_table_says_where_it_stands_and_the_notes_why() {
        let status = MigrationStatus {
            collection: Some(CollectionName {
                namespace: "game".into(),
                collection: "player".into(),
            }),
            version: 2,
            newest_published: 3,
            phase: MigrationPhase::Stopped.into(),
            seen: 40,
            total: 100,
            rewritten: 38,
            failed: 2,
            actor: "ann".into(),
            stopped_why: "2 records failed".into(),
            other_sessions: vec!["battle/battle-3 (version 1)".into()],
            ..MigrationStatus::default()
        };
        let text = table_text(&table(std::slice::from_ref(&status)));
        let words: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        let expected = [
            "game/player",
            "2",
            "3",
            "stopped",
            "40",
            "~100",
            "38",
            "2",
            "–",
            "ann",
        ];
        assert_eq!(words, expected, "{text}");
        assert_eq!(
            notes(&status),
            "game/player does not go on: 2 records failed\n\
             game/player: see `stillpoint migrate quarantine game/player`\n\
             game/player: another version is spoken by\n  battle/battle-3 (version 1)\n"
        );
    }
}

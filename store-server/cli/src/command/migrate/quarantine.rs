//! `stillpoint migrate quarantine`: the records that could not be migrated.

use clap::Args;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use rmpv::Value;
use stillpoint_proto::v1::QuarantinedRecord;

use super::EXIT_CODES;
use crate::{
    address::Address,
    failure::Failure,
    json,
    management::words::moment,
    migrate::collection::{Collection, Home},
    output::{is_terminal, plain_table, print_table, print_text},
    port::{AdminPort, DEFAULT_NAMESPACE},
    record::{key_value, object},
};

const AFTER_HELP: &str = "\
Such a record is as it was, at the version SCHEMA. Reads of it fail with the same error,
scans and watches tell of it and go on; `get --raw` reads it as it is stored. Mend the
record, or the script in a new one. What is written with --schema N is a document of that
version, which is brought to the newest on the way. A record that was written since is in
quarantine no more.

Lists at most 100, or with --json all, one object a line.

Examples:
  stillpoint migrate quarantine
  stillpoint migrate quarantine game/player --json | jq -r .error | sort | uniq -c
  stillpoint get --namespace game --raw player/42 > 42.json
  stillpoint put --namespace game player/42 @42.json --schema 2";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    /// The collection [default: all]
    #[arg(value_name = "COLLECTION")]
    collection: Option<Collection>,
    #[command(flatten)]
    home: Home,
    #[command(flatten)]
    port: AdminPort,
}

/// Records a person gets.
const SHOWN_MAX: usize = 100;

/// Lists them.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let collection = options
        .collection
        .as_ref()
        .map(|typed| options.home.find(typed));
    let mut port = options.port.connect()?;
    let mut shown = Vec::new();
    let mut more = 0;
    for page in port.quarantine(collection)? {
        let mut records = page?.records;
        if json {
            let lines = records
                .iter()
                .map(|record| json::to_string(&to_value(record), false) + "\n");
            print_text(&lines.collect::<String>())?;
            continue;
        }
        let room = SHOWN_MAX.saturating_sub(shown.len());
        more += records.len().saturating_sub(room);
        records.truncate(room);
        shown.append(&mut records);
    }
    if json {
        return Ok(());
    }
    let Some(first) = shown.first() else {
        eprintln!("no records in quarantine");
        return Ok(());
    };
    print_table(&table(&shown))?;
    if more > 0 {
        eprintln!("there are {more} more: --json lists all");
    }
    eprint!("{}", remedy(first));
    Ok(())
}

fn table(records: &[QuarantinedRecord]) -> Table {
    let mut table = plain_table();
    if is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.set_header(["NAMESPACE", "RECORD", "SCHEMA", "REV", "FOUND", "ERROR"]);
    for record in records {
        table.add_row([
            record.namespace.clone(),
            address(record),
            record.schema.to_string(),
            record.mod_rev.to_string(),
            moment(record.time_ms),
            record.error.clone(),
        ]);
    }
    for number in [2, 3] {
        if let Some(column) = table.column_mut(number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// How to look at a record, and how to mend it.
fn remedy(record: &QuarantinedRecord) -> String {
    let namespace = match record.namespace.as_str() {
        DEFAULT_NAMESPACE => String::new(),
        namespace => format!("--namespace {namespace} "),
    };
    let name = quoted(&address(record));
    let (version, flag) = match record.schema {
        // What is written without a version is of the newest.
        0 => ("its newest version", String::new()),
        schema => ("that version", format!(" --schema {schema}")),
    };
    format!(
        "look at one with: stillpoint get {namespace}--raw {name}\n\
         mend it with:     stillpoint put {namespace}{name} @mended.json{flag} (a document of {version})\n"
    )
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/%._-:@+=".contains(c);
    match word.chars().all(is_plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// The record's name within its namespace.
pub fn address(record: &QuarantinedRecord) -> String {
    let key = record.key.as_ref();
    key.map(|key| Address::from(key).to_string())
        .unwrap_or_default()
}

fn to_value(record: &QuarantinedRecord) -> Value {
    let key = record.key.clone().unwrap_or_default();
    object([
        ("namespace", record.namespace.as_str().into()),
        ("record", address(record).into()),
        ("collection", key.collection.as_str().into()),
        ("key", key_value(&key.key)),
        ("schema", record.schema.into()),
        ("rev", record.mod_rev.into()),
        ("error", record.error.as_str().into()),
        ("time_ms", record.time_ms.into()),
    ])
}

#[cfg(test)]
mod tests {
    use stillpoint_proto::v1::RecordKey;

    use super::*;

    #[test]
    fn the_remedy_can_be_typed() {
        let mut record = QuarantinedRecord {
            namespace: "game".into(),
            key: Some(RecordKey {
                collection: "player".into(),
                key: "a b%".into(),
            }),
            schema: 1,
            ..QuarantinedRecord::default()
        };
        assert_eq!(
            remedy(&record),
            "look at one with: stillpoint get --namespace game --raw 'player/a b%25'\n\
             mend it with:     stillpoint put --namespace game 'player/a b%25' @mended.json --schema 1 (a document of that version)\n"
        );
        record.namespace = "default".into();
        record.schema = 0;
        assert_eq!(
            remedy(&record),
            "look at one with: stillpoint get --raw 'player/a b%25'\n\
             mend it with:     stillpoint put 'player/a b%25' @mended.json (a document of its newest version)\n"
        );
    }
}

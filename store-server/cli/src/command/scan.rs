//! `stillpoint scan`: lists the records of a collection.

use std::io::{self, BufWriter, Write};

use clap::Args;
use comfy_table::ContentArrangement;
use stillpoint_proto::v1::{ScanEntry, ScanOp};

use crate::{
    address::{key_from_text, key_to_text},
    failure::Failure,
    json,
    output::{self, is_terminal, plain_table},
    pages::Pages,
    port::DataPort,
    record::entry_value,
};

/// Records a person gets unless told otherwise.
const TABLE_LIMIT: u64 = 100;

/// Characters of a value that the table shows when stdout has no width of its own.
const VALUE_CHARS: usize = 120;

const AFTER_HELP: &str = "\
Prints a table of at most 100 records, or with --json all of them, one JSON
object a line. Keys are in order of their bytes. A key's bytes that cannot be
typed are shown, and written, as %XX, and % itself as %25.

A record that cannot be brought to the newest version of its schema is told of, with
the reason, and has no value. --raw gives all as they are stored.

Examples:
  stillpoint scan player
  stillpoint scan guild --prefix 7/ --keys-only
  stillpoint scan player --reverse --limit 1
  stillpoint scan player --json | jq -c 'select(.value.gold > 1000) | .key'
";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Options {
    /// The collection
    collection: String,
    /// Only keys that begin with this
    #[arg(long, value_name = "KEY", value_parser = parse_key)]
    prefix: Option<Key>,
    /// Only keys from this one on
    #[arg(long, value_name = "KEY", value_parser = parse_key)]
    start: Option<Key>,
    /// Only keys before this one
    #[arg(long, value_name = "KEY", value_parser = parse_key)]
    end: Option<Key>,
    /// At most this many records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// From the last key to the first
    #[arg(long)]
    reverse: bool,
    /// Leave the values out
    #[arg(long)]
    keys_only: bool,
    /// Give the records as they are stored, with the version of their schema
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    port: DataPort,
}

/// The bytes of a typed key.
#[derive(Clone, Debug, Default)]
pub struct Key(pub Vec<u8>);

/// Reads a key or prefix as typed.
pub fn parse_key(text: &str) -> Result<Key, String> {
    key_from_text(text).map(Key)
}

/// Lists the records.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let bytes = |key: Option<Key>| key.unwrap_or_default().0.into();
    let op = ScanOp {
        collection: options.collection,
        prefix: bytes(options.prefix),
        start: bytes(options.start),
        end: bytes(options.end),
        reverse: options.reverse,
        limit: 0,
        keys_only: options.keys_only,
        raw: options.raw,
    };
    let client = options.port.connect()?;
    if json {
        print_lines(Pages::new(&client, op, options.limit), options.keys_only)
    } else {
        let limit = options.limit.unwrap_or(TABLE_LIMIT);
        let columns = Columns {
            schema: options.raw,
            value: !options.keys_only,
        };
        print_table(Pages::new(&client, op, Some(limit)), columns)
    }
}

fn print_lines(mut pages: Pages<'_>, keys_only: bool) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    loop {
        let page = pages.next_page()?;
        for entry in &page {
            let record = entry_value(entry, keys_only).map_err(Failure::operation)?;
            writeln!(out, "{}", json::to_string(&record, false))?;
        }
        out.flush()?;
        if page.is_empty() {
            return Ok(());
        }
    }
}

/// Columns of the table that are not always there.
#[derive(Clone, Copy)]
struct Columns {
    schema: bool,
    value: bool,
}

fn print_table(mut pages: Pages<'_>, columns: Columns) -> Result<(), Failure> {
    let mut table = plain_table();
    if is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    let mut header = vec!["KEY", "REV"];
    header.extend(columns.schema.then_some("SCHEMA"));
    header.extend(columns.value.then_some("VALUE"));
    table.set_header(header);
    let mut count = 0_u64;
    loop {
        let page = pages.next_page()?;
        if page.is_empty() {
            break;
        }
        count += page.len() as u64;
        for entry in &page {
            table.add_row(row(entry, columns)?);
        }
    }
    if count > 0 {
        output::print_table(&table)?;
    }
    match count {
        0 => eprintln!("no records"),
        _ if pages.has_more() => {
            eprintln!("there are more than these {count}: --limit N shows more, --json all");
        }
        _ => {}
    }
    Ok(())
}

fn row(entry: &ScanEntry, columns: Columns) -> Result<Vec<String>, Failure> {
    let record = entry.record.as_ref();
    let mut cells = vec![
        key_to_text(&entry.key),
        record.map_or(0, |record| record.mod_rev).to_string(),
    ];
    if columns.schema {
        cells.push(record.map_or(0, |record| record.schema).to_string());
    }
    match record.filter(|_| columns.value) {
        None => {}
        Some(record) if !record.unreadable.is_empty() => {
            cells.push(format!("unreadable: {}", record.unreadable));
        }
        Some(record) => {
            let value = json::from_msgpack(&record.value).map_err(Failure::operation)?;
            cells.push(shorten(json::to_string(&value, false)));
        }
    }
    Ok(cells)
}

/// Cuts a long value.
fn shorten(text: String) -> String {
    match text.char_indices().nth(VALUE_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

//! `stillpoint dump`: writes collections to a file.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use indicatif::ProgressBar;
use stillpoint_client::Client;
use stillpoint_proto::v1::{ListCollectionsOp, ScanOp, op, op_result};

use super::scan::{Key, parse_key};
use crate::{
    dump_format::{end_line, header_line, record_line},
    failure::Failure,
    output,
    pages::Pages,
    port::{DEFAULT_NAMESPACE, DataPort, call, unexpected},
    progress,
    record::object,
};

const AFTER_HELP: &str = "\
Writes JSON lines: a header, one line a record, and a last line with their
number. `stillpoint load` reads them back. Each record is whole, but the dump
goes from page to page while others may write: two records may be as of
different moments. Expiry times are kept, revisions and versions are told but
not restored. Values are as they are stored, with the versions of their schema.

Examples:
  stillpoint dump world1.jsonl
  stillpoint dump --collection player --collection guild world1.jsonl
  stillpoint dump --collection player --prefix 4 | jq -c .value
";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Options {
    /// The file, written as a whole or not at all; - is stdout
    #[arg(default_value = "-")]
    file: String,
    /// A collection to write; repeatable. Without it: all of the namespace
    #[arg(long = "collection", value_name = "NAME")]
    collections: Vec<String>,
    /// Only keys that begin with this
    #[arg(long, value_name = "KEY", value_parser = parse_key)]
    prefix: Option<Key>,
    #[command(flatten)]
    port: DataPort,
}

/// Writes the collections.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let client = options.port.connect()?;
    let bar = progress::records("dumped");
    let records = match options.file.as_str() {
        "-" => write_dump(&options, &client, &bar, io::stdout().lock())?,
        file => write_file(Path::new(file), |out| {
            write_dump(&options, &client, &bar, out)
        })?,
    };
    bar.finish_and_clear();
    if json && options.file != "-" {
        let summary = object([("records", records.into())]);
        output::print_json(&summary, false)?;
    } else {
        eprintln!("dumped {records} records");
    }
    Ok(())
}

/// Writes a file beside its place, then moves it there, so that a broken-off dump never looks like a whole one.
fn write_file<T>(
    path: &Path,
    write: impl FnOnce(&File) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let place = |error: io::Error| Failure::from(error).at(path.display());
    let mut partial = PathBuf::from(path).into_os_string();
    partial.push(".partial");
    let file = File::create(&partial).map_err(place)?;
    let written = write(&file).and_then(|written| {
        file.sync_all().map_err(place)?;
        fs::rename(&partial, path).map_err(place)?;
        Ok(written)
    });
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&partial);
    }
    written
}

/// Writes all lines; returns how many records.
fn write_dump(
    options: &Options,
    client: &Client,
    bar: &ProgressBar,
    out: impl Write,
) -> Result<u64, Failure> {
    let mut out = BufWriter::with_capacity(1 << 18, out);
    let namespace = options
        .port
        .namespace
        .as_deref()
        .unwrap_or(DEFAULT_NAMESPACE);
    writeln!(out, "{}", header_line(namespace))?;
    let mut records = 0;
    let collections = match options.collections.as_slice() {
        [] => all_collections(client)?,
        named => named.to_vec(),
    };
    for collection in &collections {
        let mut pages = Pages::new(client, scan_of(collection, options.prefix.as_ref()), None);
        loop {
            let page = pages.next_page()?;
            for entry in &page {
                let line = record_line(collection, entry).map_err(Failure::operation)?;
                writeln!(out, "{line}")?;
            }
            records += page.len() as u64;
            bar.inc(page.len() as u64);
            if page.is_empty() {
                break;
            }
        }
    }
    writeln!(out, "{}", end_line(records))?;
    out.flush()?;
    Ok(records)
}

/// The collections of the namespace.
fn all_collections(client: &Client) -> Result<Vec<String>, Failure> {
    let mut found: Vec<String> = Vec::new();
    loop {
        let after = found.last().cloned().unwrap_or_default();
        match call(
            client,
            op::Kind::ListCollections(ListCollectionsOp { after, limit: 0 }),
        )? {
            op_result::Kind::ListCollections(page) => {
                found.extend(page.collections);
                if !page.more {
                    return Ok(found);
                }
            }
            other => return Err(unexpected(&other)),
        }
    }
}

fn scan_of(collection: &str, prefix: Option<&Key>) -> ScanOp {
    ScanOp {
        collection: collection.into(),
        prefix: prefix.cloned().unwrap_or_default().0.into(),
        // Every record is whole then, also one that cannot be migrated.
        raw: true,
        ..ScanOp::default()
    }
}

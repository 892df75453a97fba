//! `stillpoint migrate new`: writes the next script of a collection.

use std::{
    fs::{self, File},
    io::{self, Write},
};

use clap::Args;
use stillpoint_migrations::{
    Source, next_number,
    source::{ANY_NAMESPACE, file_name},
    template,
};
use stillpoint_proto::v1::CollectionName;

use super::EXIT_CODES;
use crate::{
    failure::Failure,
    migrate::{
        collection::{Collection, Home, name},
        folder::Folder,
    },
    output::{print_json, print_line},
    record::object,
};

const AFTER_HELP: &str = "\
The script's number is the next one that is free. It changes nothing yet, and its
comments say what goes where. A file that is there is never written over.

Examples:
  stillpoint migrate new game/player purse
  stillpoint migrate new _any/guild members ./game/migrations";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    /// The collection; in namespace _any: for all namespaces
    #[arg(value_name = "NAMESPACE/COLLECTION")]
    collection: Collection,
    /// What the script is called: 1 to 64 of a-z 0-9 _ -
    #[arg(value_parser = parse_name)]
    name: String,
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    home: Home,
}

/// Longest name of a script, in bytes.
const NAME_BYTES_MAX: usize = 64;

fn parse_name(text: &str) -> Result<String, String> {
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    match (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed) {
        true => Ok(text.into()),
        false => Err(format!("use 1 to {NAME_BYTES_MAX} of a-z 0-9 _ -")),
    }
}

/// Writes it.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let collection = options.home.find(&options.collection);
    let folder = options.folder.path();
    let sources = match folder.exists() {
        true => options.folder.read()?,
        false => Vec::new(),
    };
    check_way(&sources, &collection)?;
    let number = next_number(&sources, &collection.namespace, &collection.collection);
    let directory = folder
        .join(&collection.namespace)
        .join(&collection.collection);
    let path = directory.join(file_name(number, &options.name));
    let place = |error: io::Error| Failure::from(error).at(path.display());
    fs::create_dir_all(&directory).map_err(place)?;
    let text = template(number, &options.name, &collection.collection);
    let mut file = File::create_new(&path).map_err(place)?;
    file.write_all(text.as_bytes()).map_err(place)?;
    let path = path.display().to_string();
    match json {
        true => {
            let written = object([("path", path.into()), ("number", number.into())]);
            print_json(&written, false)?;
        }
        false => print_line(&path)?,
    }
    Ok(())
}

/// Refuses a script for all namespaces where one of them has gone on by itself.
fn check_way(sources: &[Source], collection: &CollectionName) -> Result<(), Failure> {
    if collection.namespace != ANY_NAMESPACE {
        return Ok(());
    }
    let own = sources.iter().find(|source| {
        source.collection == collection.collection && source.namespace != ANY_NAMESPACE
    });
    match own {
        None => Ok(()),
        Some(own) => Err(Failure::usage(format_args!(
            "{} goes on where {} ends, so that cannot go further",
            own.path(),
            name(collection)
        ))
        .hint("write a script of its own for each namespace")),
    }
}

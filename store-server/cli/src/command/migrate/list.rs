//! `stillpoint migrate list`: the scripts that the store has.

use std::{collections::BTreeMap, path::PathBuf};

use clap::Args;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use rmpv::Value;
use stillpoint_migrations::Source;
use stillpoint_proto::v1::MigrationScript;

use super::EXIT_CODES;
use crate::{
    command::status::hex,
    failure::Failure,
    json,
    management::words::moment,
    migrate::{folder, words::script_path},
    output::{is_terminal, plain_table, print_table, print_text},
    port::AdminPort,
    record::object,
};

const AFTER_HELP: &str = "\
VERSION is the one that a script makes, HASH the beginning of the BLAKE3 hash of its
text. APPLIED is whether a collection was taken to its version, or beyond: then it cannot
be replaced. With DIR the scripts of that folder are compared: they are in both, `new` in
the folder, `different` there, or `only here`, in the store. With --json: one object a
line, with the whole hash.

Examples:
  stillpoint migrate list
  stillpoint migrate list ./migrations --json | jq -r 'select(.folder == \"new\") | .script'";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    /// A folder to compare with
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    #[command(flatten)]
    port: AdminPort,
}

/// Hexadecimal digits of a hash that are shown to people.
const HASH_DIGITS: usize = 12;

/// Lists them.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let sources = options.folder.as_deref().map(folder::read).transpose()?;
    let stored = options.port.connect()?.scripts(false)?.scripts;
    let listed = listed(stored, sources.as_deref());
    if json {
        let lines = listed
            .iter()
            .map(|script| json::to_string(&script.to_value(), false) + "\n");
        return Ok(print_text(&lines.collect::<String>())?);
    }
    if listed.is_empty() {
        eprintln!("no scripts: `stillpoint migrate publish` brings those of a folder");
        return Ok(());
    }
    Ok(print_table(&table(&listed, sources.is_some()))?)
}

/// A script, and how it is in the folder; none: there is no folder to compare with.
struct Listed {
    script: MigrationScript,
    folder: Option<&'static str>,
}

/// The scripts of the store and of a folder, in the order of namespace, collection and number.
fn listed(stored: Vec<MigrationScript>, sources: Option<&[Source]>) -> Vec<Listed> {
    let mut all = BTreeMap::new();
    for script in stored {
        let place = (
            script.namespace.clone(),
            script.collection.clone(),
            script.number,
        );
        let folder = sources.map(|_| "only here");
        all.insert(place, Listed { script, folder });
    }
    for source in sources.unwrap_or_default() {
        let place = (
            source.namespace.clone(),
            source.collection.clone(),
            source.number,
        );
        let of_folder = Listed {
            script: MigrationScript {
                namespace: source.namespace.clone(),
                collection: source.collection.clone(),
                number: source.number,
                name: source.name.clone(),
                hash: source.hash.as_bytes().to_vec().into(),
                ..MigrationScript::default()
            },
            folder: Some("new"),
        };
        let listed = all.entry(place).or_insert(of_folder);
        if listed.folder != Some("new") {
            let is_same = listed.script.hash == source.hash.as_bytes()[..];
            listed.folder = Some(if is_same { "same" } else { "different" });
        }
    }
    all.into_values().collect()
}

impl Listed {
    fn row(&self) -> Vec<String> {
        let script = &self.script;
        let published = match script.published_ms {
            0 => "–".into(),
            ms => moment(ms),
        };
        let mut hash = hex(&script.hash);
        hash.truncate(HASH_DIGITS);
        vec![
            script_path(script),
            script.number.to_string(),
            hash,
            published,
            script.actor.clone(),
            if script.applied { "yes" } else { "no" }.into(),
        ]
    }

    fn to_value(&self) -> Value {
        let script = &self.script;
        let mut fields = vec![
            ("script", script_path(script).into()),
            ("namespace", script.namespace.as_str().into()),
            ("collection", script.collection.as_str().into()),
            ("version", script.number.into()),
            ("name", script.name.as_str().into()),
            ("hash", hex(&script.hash).into()),
            ("published_ms", script.published_ms.into()),
            ("actor", script.actor.as_str().into()),
            ("applied", script.applied.into()),
        ];
        if let Some(folder) = self.folder {
            fields.push(("folder", folder.into()));
        }
        object(fields)
    }
}

fn table(listed: &[Listed], with_folder: bool) -> Table {
    let mut table = plain_table();
    if is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    let mut header = vec!["SCRIPT", "VERSION", "HASH", "PUBLISHED", "WHO", "APPLIED"];
    if with_folder {
        header.push("FOLDER");
    }
    table.set_header(header);
    for script in listed {
        let mut row = script.row();
        row.extend(script.folder.map(Into::into));
        table.add_row(row);
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(number: u32, text: &str) -> (MigrationScript, Source) {
        let source = Source::new("game", "player", number, "purse", text);
        let script = MigrationScript {
            namespace: "game".into(),
            collection: "player".into(),
            number,
            name: "purse".into(),
            hash: source.hash.as_bytes().to_vec().into(),
            ..MigrationScript::default()
        };
        (script, source)
    }

    #[test]
    fn the_folder_is_compared_script_by_script() {
        let stored = [script(1, "one"), script(2, "two"), script(3, "three")];
        let stored = stored.map(|(script, _)| script).to_vec();
        let folder = [script(4, "four"), script(2, "two!"), script(3, "three")];
        let folder = folder.map(|(_, source)| source);
        let told = |listed: Vec<Listed>| -> Vec<_> {
            let each = listed.into_iter();
            each.map(|one| (one.script.number, one.folder)).collect()
        };
        assert_eq!(
            told(listed(stored.clone(), Some(&folder))),
            [
                (1, Some("only here")),
                (2, Some("different")),
                (3, Some("same")),
                (4, Some("new"))
            ]
        );
        let alone = told(listed(stored, None));
        assert_eq!(alone, [(1, None), (2, None), (3, None)]);
    }
}

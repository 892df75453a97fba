//! `stillpoint migrate publish`: keeps the scripts of a folder in the store.

use clap::Args;
use rmpv::Value;
use stillpoint_client::AdminClient;
use stillpoint_migrations::Source;
use stillpoint_proto::v1::{MigrationScript, PublishScriptsRequest};

use super::EXIT_CODES;
use crate::{
    failure::Failure,
    migrate::{
        folder::{Folder, scripts, to_send},
        pace::Operator,
        words::script_path,
    },
    output::{print_json, print_text},
    port::AdminPort,
    record::object,
};

const AFTER_HELP: &str = "\
Tries the scripts as `stillpoint migrate lint` does, then hands them to the store, which
tries them together with those that it has, and keeps all or none. A script that is there
already with the same text is left alone. One that was applied cannot be replaced: write
another one. Nothing becomes of the records before `stillpoint migrate apply`, which
publishes by itself.

Examples:
  stillpoint migrate publish
  stillpoint migrate publish ./game/migrations --as ann";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    operator: Operator,
    #[command(flatten)]
    port: AdminPort,
}

/// Publishes them.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let sources = options.folder.read_sound()?;
    let mut port = options.port.connect()?;
    let published = publish(&mut port, &sources, options.operator.name())?;
    match json {
        true => print_json(&published.to_value(), false)?,
        false => {
            let known = match published.known {
                0 => String::new(),
                known => format!(", {known} there already"),
            };
            let count = scripts(published.scripts.len());
            print_text(&format!("{}{count} published{known}\n", published.lines()))?;
        }
    }
    Ok(())
}

/// What came of publishing.
#[derive(Debug, Default)]
pub struct Published {
    /// Those that were not there before.
    pub scripts: Vec<MigrationScript>,
    /// Those that were.
    known: u32,
}

/// Hands scripts to the store.
pub fn publish(
    port: &mut AdminClient,
    sources: &[Source],
    actor: String,
) -> Result<Published, Failure> {
    let response = port.publish_scripts(PublishScriptsRequest {
        scripts: to_send(sources),
        actor,
    })?;
    Ok(Published {
        scripts: response.published,
        known: response.known,
    })
}

impl Published {
    /// A line for each that was not there before.
    pub fn lines(&self) -> String {
        let line = |script| format!("published {}\n", script_path(script));
        self.scripts.iter().map(line).collect()
    }

    /// Where they are, for programs.
    pub fn paths(&self) -> Value {
        let paths = self.scripts.iter().map(|script| script_path(script).into());
        Value::Array(paths.collect())
    }

    fn to_value(&self) -> Value {
        object([("published", self.paths()), ("known", self.known.into())])
    }
}

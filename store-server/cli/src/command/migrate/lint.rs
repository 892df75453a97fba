//! `stillpoint migrate lint`: tries the scripts of a folder with their samples.

use std::collections::BTreeSet;

use clap::Args;
use rmpv::Value;
use stillpoint_migrations::{Chain, Limits, Part, Source, StepError};

use super::EXIT_CODES;
use crate::{
    failure::Failure,
    migrate::folder::{Folder, faults, scripts},
    output::{print_json, print_line, print_text},
    record::object,
};

const AFTER_HELP: &str = "\
Loads every script, checks that their numbers make chains without gaps and forks, and
takes each sample through its own script and all that follow: up, check, down, and back
to the same, more than once, so that a script that keeps something is found. Needs no
store. Every fault is a line on stdout. A script without samples is only loaded, and named
with a hint.

Examples:
  stillpoint migrate lint
  stillpoint migrate lint ./game/migrations --json | jq -r '.faults[].script'";

/// What is said of a script without samples.
const NO_SAMPLES: &str = "has no `samples`, so nothing was tried: give it some documents of the version before, or try the \
                          records themselves with `stillpoint migrate dry-run`";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    #[command(flatten)]
    folder: Folder,
}

/// Tries them.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let sources = options.folder.read()?;
    let found = stillpoint_migrations::lint(&sources, &Limits::default());
    let tried = Tried::of(&sources, &found);
    if json {
        print_json(&tried.to_value(&found), false)?;
    } else {
        let faults = found.iter().map(|fault| format!("{fault}\n"));
        let hints = tried.untried.iter();
        let hints = hints.map(|path| format!("hint: {path} {NO_SAMPLES}\n"));
        print_text(&faults.chain(hints).collect::<String>())?;
    }
    if !found.is_empty() {
        return Err(Failure::usage(format_args!(
            "{} in {}",
            faults(found.len()),
            tried.text()
        )));
    }
    if !json {
        print_line(&format!("no faults in {}", tried.text()))?;
    }
    Ok(())
}

/// How much there was to be tried.
struct Tried {
    scripts: usize,
    collections: usize,
    samples: usize,
    /// Scripts that nothing was tried with.
    untried: Vec<String>,
}

impl Tried {
    fn of(sources: &[Source], found: &[StepError]) -> Tried {
        let collections: BTreeSet<_> = sources
            .iter()
            .map(|source| (&source.namespace, &source.collection))
            .collect();
        Tried {
            scripts: sources.len(),
            collections: collections.len(),
            samples: sources.iter().map(samples).sum(),
            untried: (sources.iter())
                .filter(|source| samples(source) == 0)
                .map(Source::path)
                .filter(|path| !found.iter().any(|fault| fault.script == *path))
                .collect(),
        }
    }

    fn text(&self) -> String {
        let collections = match self.collections {
            1 => "1 collection".into(),
            count => format!("{count} collections"),
        };
        let samples = match self.samples {
            1 => "1 sample".into(),
            count => format!("{count} samples"),
        };
        format!("{} of {collections} with {samples}", scripts(self.scripts))
    }

    fn to_value(&self, found: &[StepError]) -> Value {
        object([
            ("scripts", self.scripts.into()),
            ("collections", self.collections.into()),
            ("samples", self.samples.into()),
            (
                "faults",
                Value::Array(found.iter().map(fault_value).collect()),
            ),
            (
                "hints",
                Value::Array(self.untried.iter().map(|path| hint_value(path)).collect()),
            ),
        ])
    }
}

/// Samples of a script; one that cannot be loaded has none.
fn samples(source: &Source) -> usize {
    let only = std::slice::from_ref(source);
    let chain = Chain::new(
        &source.namespace,
        &source.collection,
        only,
        Limits::default(),
    );
    chain.map_or(0, |chain| {
        chain.steps().iter().map(|step| step.sample_count()).sum()
    })
}

fn hint_value(path: &str) -> Value {
    object([
        ("script", path.into()),
        ("message", format!("{path} {NO_SAMPLES}").into()),
    ])
}

fn fault_value(fault: &StepError) -> Value {
    let part = match fault.part {
        Part::Script => "script",
        Part::Up => "up",
        Part::Down => "down",
        Part::Check => "check",
    };
    object([
        ("script", fault.script.as_str().into()),
        ("part", part.into()),
        ("message", fault.to_string().into()),
    ])
}

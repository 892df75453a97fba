//! The scripts in a folder, and what is wrong with them.

use std::{
    io,
    path::{Path, PathBuf},
};

use clap::Args;
use stillpoint_migrations::{Limits, Source, lint, read_dir, source::ReadError};
use stillpoint_proto::v1::MigrationScript;

use crate::failure::Failure;

/// Where scripts are unless another folder is named.
pub const FOLDER: &str = "./migrations";

/// A folder of scripts.
#[derive(Debug, Args)]
pub struct Folder {
    /// The folder with the scripts, as DIR/NAMESPACE/COLLECTION/0001_name.lua [default: ./migrations]
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

impl Folder {
    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.as_deref().unwrap_or(Path::new(FOLDER))
    }

    /// Reads all scripts.
    pub fn read(&self) -> Result<Vec<Source>, Failure> {
        read(self.path())
    }

    /// Reads all scripts; none where no folder was named and there is none: what was published counts then.
    pub fn read_if_there(&self) -> Result<Option<Vec<Source>>, Failure> {
        match self.folder.is_none() && !self.path().exists() {
            true => Ok(None),
            false => self.read_sound().map(Some),
        }
    }

    /// Why there is nothing to do, for people; `sources`: whether there is a folder at all.
    pub fn nothing_new(&self, sources: bool) -> String {
        match sources {
            true => "all scripts are applied".into(),
            false => format!(
                "all that was published is applied, and there is no folder {}",
                self.path().display()
            ),
        }
    }

    /// Reads all scripts, and fails if anything is wrong with one of them.
    pub fn read_sound(&self) -> Result<Vec<Source>, Failure> {
        let sources = self.read()?;
        let faults: Vec<_> = lint(&sources, &Limits::default())
            .iter()
            .map(ToString::to_string)
            .collect();
        match faults.is_empty() {
            true => Ok(sources),
            false => Err(unsound(self.path(), &faults)),
        }
    }
}

/// Reads all scripts of a folder.
pub fn read(path: &Path) -> Result<Vec<Source>, Failure> {
    read_dir(path).map_err(|error| match error {
        ReadError::Io { path: at, source } if source.kind() == io::ErrorKind::NotFound => {
            Failure::usage(format_args!("there is no folder {}", at.display())).hint(
                "the folder of the scripts is named first, then the collections; \
                 `stillpoint migrate new NAMESPACE/COLLECTION NAME` begins one",
            )
        }
        ReadError::Wrong(wrong) => {
            let faults: Vec<_> = wrong.iter().map(ToString::to_string).collect();
            Failure::usage(listed(
                &format!("not all in {} are scripts", path.display()),
                &faults,
            ))
        }
        error => Failure::usage(error),
    })
}

/// The failure of scripts that have these faults.
fn unsound(path: &Path, faults: &[String]) -> Failure {
    let head = format!(
        "{} in the scripts of {}",
        self::faults(faults.len()),
        path.display()
    );
    Failure::usage(listed(&head, faults))
}

/// A head, and a line for each.
fn listed(head: &str, lines: &[String]) -> String {
    let lines = lines.iter().map(|line| format!("\n  {line}"));
    format!("{head}:{}", lines.collect::<String>())
}

/// So many faults, in words.
pub fn faults(count: usize) -> String {
    match count {
        1 => "1 fault".into(),
        count => format!("{count} faults"),
    }
}

/// So many scripts, in words.
pub fn scripts(count: usize) -> String {
    match count {
        1 => "1 script".into(),
        count => format!("{count} scripts"),
    }
}

/// The scripts as they are sent.
pub fn to_send(sources: &[Source]) -> Vec<MigrationScript> {
    let script = |source: &Source| MigrationScript {
        namespace: source.namespace.clone(),
        collection: source.collection.clone(),
        number: source.number,
        name: source.name.clone(),
        text: source.text.clone(),
        ..MigrationScript::default()
    };
    sources.iter().map(script).collect()
}

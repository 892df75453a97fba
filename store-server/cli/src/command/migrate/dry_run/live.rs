//! On the records of the running store, by the store.

use std::collections::BTreeSet;

use stillpoint_migrations::{Source, source::ANY_NAMESPACE};
use stillpoint_proto::v1::{
    CollectionName, DryRunMigrationRequest, MigrationScript, dry_run_migration_response::Kind,
};

use super::{Options, report::Report};
use crate::{
    failure::Failure,
    interrupt::Interrupt,
    migrate::{
        collection::name,
        folder::to_send,
        listen::{Heard, Words},
    },
};

/// Tries the scripts.
pub fn run(options: &Options, report: &mut Report) -> Result<(), Failure> {
    let sources = options.folder.read_if_there()?.unwrap_or_default();
    let mut port = options.port.connect()?;
    let collections = match options.collections.as_slice() {
        [] => not_applied(&sources, &port.scripts(false)?.scripts),
        named => options.home.find_all(named),
    };
    if collections.is_empty() {
        eprintln!("nothing to try: all scripts are applied");
    }
    let interrupt = Interrupt::listen()?;
    for collection in collections {
        let request = DryRunMigrationRequest {
            collection: Some(collection.clone()),
            scripts: to_send(&sources),
            to_version: options.to_version.unwrap_or_default(),
            sample: options.sample.unwrap_or_default(),
            examples: options.examples,
        };
        report.begin(&name(&collection));
        let words = Words::of(options.port.connect()?, move |admin| {
            admin.dry_run_migration(request)
        });
        loop {
            match words.next(&interrupt)? {
                Heard::Word(word) => match word.kind {
                    Some(Kind::Progress(progress)) => report.progress(&progress),
                    Some(Kind::Difference(difference)) => report.difference(difference)?,
                    Some(Kind::Failure(failure)) => report.failure(failure)?,
                    Some(Kind::Done(summary)) => {
                        report.end(&summary)?;
                        break;
                    }
                    // Told by a newer server.
                    None => {}
                },
                Heard::End => {
                    return Err(Failure::operation(
                        "the store ended the answer before all records were tried",
                    ));
                }
                Heard::Interrupt => {
                    return Err(Failure::operation("interrupted: nothing was changed"));
                }
            }
        }
    }
    Ok(())
}

/// The collections with scripts, here or in the store, that were not applied. Those in [`ANY_NAMESPACE`] are tried in all
/// namespaces.
pub fn not_applied(sources: &[Source], stored: &[MigrationScript]) -> Vec<CollectionName> {
    let applied = |namespace: &str, collection: &str, number: u32| {
        stored.iter().any(|script| {
            script.applied
                && script.number == number
                && script.namespace == namespace
                && script.collection == collection
        })
    };
    let here = sources
        .iter()
        .map(|source| (&*source.namespace, &*source.collection, source.number));
    let there = stored
        .iter()
        .map(|script| (&*script.namespace, &*script.collection, script.number));
    let new: BTreeSet<_> = here
        .chain(there)
        .filter(|(namespace, collection, number)| !applied(namespace, collection, *number))
        .map(|(namespace, collection, _)| (namespace, collection))
        .collect();
    let is_in_all = |collection: &str| new.contains(&(ANY_NAMESPACE, collection));
    new.iter()
        .filter(|(namespace, collection)| *namespace == ANY_NAMESPACE || !is_in_all(collection))
        .map(|(namespace, collection)| CollectionName {
            namespace: (*namespace).into(),
            collection: (*collection).into(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_applied_is_tried_once() {
        let source = |namespace: &str, collection: &str, number| {
            Source::new(namespace, collection, number, "x", "")
        };
        let stored = |namespace: &str, collection: &str, number, applied| MigrationScript {
            namespace: namespace.into(),
            collection: collection.into(),
            number,
            applied,
            ..MigrationScript::default()
        };
        let found = not_applied(
            &[
                source("_any", "guild", 1),
                source("game", "guild", 2),
                source("game", "player", 1),
                source("game", "player", 2),
                source("game", "shop", 1),
            ],
            &[
                stored("game", "player", 1, true),
                stored("game", "shop", 1, true),
                stored("game", "desk", 1, false),
            ],
        );
        let names: Vec<_> = found.iter().map(name).collect();
        assert_eq!(names, ["_any/guild", "game/desk", "game/player"]);
    }
}

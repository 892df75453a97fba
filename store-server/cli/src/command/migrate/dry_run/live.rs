//! On the records of the running store, by the store.

use std::collections::BTreeMap;

use stillpoint_migrations::{Source, source::ANY_NAMESPACE};
use stillpoint_proto::v1::{
    CollectionName, DryRunMigrationRequest, MigrationScript, MigrationStatus,
    dry_run_migration_response::Kind,
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
    let found = options.folder.read_if_there()?;
    let has_folder = found.is_some();
    let sources = found.unwrap_or_default();
    let mut port = options.port.connect()?;
    let collections = match options.collections.as_slice() {
        [] => not_applied(&sources, &port.migrations()?.migrations),
        named => options.home.find_all(named),
    };
    for path in changed(&sources, &port.scripts(false)?.scripts) {
        report.note(&format!(
            "{path} was applied with another text, so `stillpoint migrate apply` will refuse it: write another script"
        ));
    }
    if collections.is_empty() {
        let why = options.folder.nothing_new(has_folder);
        report.note(&format!("nothing to try: {why}"));
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

/// The collections that scripts, here or in the store, would take further than they are. Those in [`ANY_NAMESPACE`] are tried
/// in all namespaces, so of these only those are named besides that have scripts of their own beyond that.
pub fn not_applied(sources: &[Source], statuses: &[MigrationStatus]) -> Vec<CollectionName> {
    // The version and the newest one that the store knows of.
    let mut known = BTreeMap::<(&str, &str), (u32, u32)>::new();
    for status in statuses {
        if let Some(name) = &status.collection {
            let versions = (status.version, status.newest_published);
            known.insert((&name.namespace, &name.collection), versions);
        }
    }
    let mut new = known.clone();
    for source in sources {
        let name = (&*source.namespace, &*source.collection);
        // What has nothing of its own goes with all.
        let all = known.get(&(ANY_NAMESPACE, name.1));
        new.entry(name).or_insert(all.copied().unwrap_or_default());
    }
    for ((namespace, collection), (_, newest)) in &mut new {
        let serving = sources
            .iter()
            .filter(|source| source.serves(namespace, collection));
        let here = serving.map(|source| source.number).max();
        *newest = here.unwrap_or_default().max(*newest);
    }
    new.retain(|_, (version, newest)| version < newest);
    let is_one = |(name, (_, newest)): &(&(&str, &str), &(u32, u32))| {
        let (namespace, collection) = **name;
        let all = new.get(&(ANY_NAMESPACE, collection));
        namespace == ANY_NAMESPACE || all.is_none_or(|(_, newest_of_all)| newest_of_all < newest)
    };
    new.iter()
        .filter(is_one)
        .map(|(&(namespace, collection), _)| CollectionName {
            namespace: namespace.into(),
            collection: collection.into(),
        })
        .collect()
}

/// The scripts here that the store has with another text, and has applied.
fn changed(sources: &[Source], stored: &[MigrationScript]) -> Vec<String> {
    let is_changed = |source: &&Source| {
        stored.iter().any(|script| {
            script.applied
                && script.number == source.number
                && script.namespace == source.namespace
                && script.collection == source.collection
                && script.hash != source.hash.as_bytes().as_slice()
        })
    };
    let changed = sources.iter().filter(is_changed);
    changed.map(Source::path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_applied_is_tried_once() {
        let source = |namespace: &str, collection: &str, number| {
            Source::new(namespace, collection, number, "x", "")
        };
        let status = |namespace: &str, collection: &str, version, newest_published| {
            let (namespace, collection) = (namespace.into(), collection.into());
            MigrationStatus {
                collection: Some(CollectionName {
                    namespace,
                    collection,
                }),
                version,
                newest_published,
                ..MigrationStatus::default()
            }
        };
        let found = not_applied(
            &[
                source("_any", "guild", 1),
                source("game", "guild", 2),
                source("game", "player", 1),
                source("game", "player", 2),
                source("game", "shop", 1),
                // Of all, and at version 1 with all.
                source("_any", "hut", 1),
                source("game", "hut", 2),
            ],
            &[
                status("game", "player", 1, 1),
                status("game", "shop", 1, 1),
                // Published, not applied.
                status("game", "desk", 0, 1),
                // Gone back.
                status("game", "bed", 1, 2),
                status("_any", "hut", 1, 1),
                // One that was taken along, and one that has not come after.
                status("_any", "lamp", 1, 1),
                status("game", "lamp", 0, 1),
                status("world", "lamp", 1, 1),
            ],
        );
        let names: Vec<_> = found.iter().map(name).collect();
        let expected = [
            "_any/guild",
            "game/bed",
            "game/desk",
            "game/guild",
            "game/hut",
            "game/lamp",
            "game/player",
        ];
        assert_eq!(names, expected);
    }
}

//! Which collections a request means, and where each of them goes.
//!
//! `_any` stands for all namespaces that have records of the collection, each of which gets a state and a job of its own, and
//! for those to come, which is the state of `_any` itself.

use std::{cmp::Reverse, collections::BTreeMap};

use stillpoint_migrations::source::ANY_NAMESPACE;
use stillpoint_proto::v1::{CollectionName, StoreError};

use super::{
    course::Course,
    migrations::{about, invalid},
    name::Name,
    status::newest,
};
use crate::{
    engine::KeyRange,
    store::{
        Store, keys,
        schema::{Table, aside, state::SchemaState},
    },
};

/// The ways of all collections that an apply means, in the order in which they are gone; those that are there already are left
/// out.
pub fn to_apply(
    store: &Store,
    collections: Vec<CollectionName>,
    to_version: u32,
) -> Result<Vec<Course>, StoreError> {
    let table = store.schemas();
    if to_version > 0 && collections.len() != 1 {
        return Err(invalid(
            "a version goes with one collection: name that, or leave the version out",
        ));
    }
    let is_all = collections.is_empty();
    let names: Vec<_> = match is_all {
        true => scripted(&table),
        false => {
            let names = collections.into_iter().map(|name| Name::asked(Some(name)));
            names.collect::<Result<_, _>>()?
        }
    };
    let mut wanted = BTreeMap::<Name, u32>::new();
    for name in names {
        let to = match to_version {
            0 => newest(&table, &name),
            to => to,
        };
        check_newer(&table, &name, to)?;
        for member in members(store, &table, &name)? {
            let wanted = wanted.entry(member).or_default();
            *wanted = to.max(*wanted);
        }
    }
    let courses = wanted.into_iter().filter_map(|(name, to)| {
        let version = table.version(&name.namespace, &name.collection);
        let is_needed = version.is_none_or(|version| version < to);
        is_needed.then(|| {
            let course = course(&table, name, version.unwrap_or(0), to)?;
            check_oldest(store, &course)?;
            Ok(course)
        })
    });
    courses.collect()
}

/// The ways of all collections that a rollback means, in the order in which they are gone.
pub fn to_roll_back(
    store: &Store,
    collection: Option<CollectionName>,
    to_version: Option<u32>,
    from_history: bool,
) -> Result<Vec<Course>, StoreError> {
    let table = store.schemas();
    let name = Name::asked(collection)?;
    let own = table.state(&name.namespace, &name.collection);
    let Some(stated) = own.or_else(|| table.state(ANY_NAMESPACE, &name.collection)) else {
        return Err(invalid(format!(
            "{name} was never migrated: there is nothing to roll back"
        )));
    };
    let state = &stated.state;
    let to = to_version.unwrap_or(state.from_version);
    if to >= state.version {
        return Err(invalid(format!(
            "{name} is at version {}: say which older version it is to go back to",
            state.version
        )));
    }
    check_floor(&name, state, to)?;
    let mut names = members(store, &table, &name)?;
    names.retain(|name| table.version(&name.namespace, &name.collection) == Some(state.version));
    let courses = names.into_iter().map(|name| {
        if let Some(own) = table.state(&name.namespace, &name.collection) {
            check_floor(&name, &own.state, to)?;
        }
        let course = course(&table, name, state.version, to)?;
        match from_history {
            true => Ok(course),
            false => check_ways_back(&table, course),
        }
    });
    courses.collect()
}

/// Refuses to go back behind what was finished.
fn check_floor(name: &Name, state: &SchemaState, to: u32) -> Result<(), StoreError> {
    let floor = state.floor();
    if to >= floor {
        return Ok(());
    }
    Err(invalid(format!(
        "{name} was finished at version {floor}, so it cannot go back to {to}: what was before is in the backups (`stillpoint \
         restore`){}",
        match state.label.as_str() {
            "" => String::new(),
            label => format!(", e.g. to the label {label}"),
        }
    )))
}

/// A name, or for `_any` all namespaces that have something of the collection, and `_any` last.
pub fn members(store: &Store, table: &Table, name: &Name) -> Result<Vec<Name>, StoreError> {
    if !name.is_any() {
        return Ok(vec![name.clone()]);
    }
    let mut members = Vec::new();
    for namespace in store.state().namespaces.into_keys() {
        let member = name.within(&namespace);
        let is_one =
            table.state(&namespace, &name.collection).is_some() || has_records(store, &member)?;
        if is_one && !member.is_any() {
            members.push(member);
        }
    }
    members.push(name.clone());
    Ok(members)
}

/// Whether a collection has any record.
pub fn has_records(store: &Store, name: &Name) -> Result<bool, StoreError> {
    let mut records = store.live_records(everything(name));
    Ok(records.next().transpose()?.is_some())
}

/// All records of a collection.
fn everything(name: &Name) -> KeyRange {
    keys::scan_range(&name.namespace, &name.collection, b"", b"", b"")
}

/// All that there are scripts for.
fn scripted(table: &Table) -> Vec<Name> {
    let mut names: Vec<_> = table
        .scripts()
        .map(|script| Name::new(&*script.source.namespace, &*script.source.collection))
        .collect();
    names.sort_unstable_by_key(|name| Reverse(name.clone()));
    names.dedup();
    names
}

fn check_newer(table: &Table, name: &Name, to: u32) -> Result<(), StoreError> {
    let newest = newest(table, name);
    if newest == 0 {
        return Err(invalid(format!(
            "there are no scripts for {name}: publish some with `stillpoint migrate publish DIR`"
        )));
    }
    if to > newest {
        return Err(invalid(format!(
            "{name} cannot go to version {to}: the newest script is number {newest}; publish more, or name that"
        )));
    }
    let version = table.version(&name.namespace, &name.collection);
    match version.filter(|version| *version > to) {
        None => Ok(()),
        Some(version) => Err(invalid(format!(
            "{name} is at version {version}, which is newer than {to}: go back with `stillpoint migrate rollback`"
        ))),
    }
}

fn course(table: &Table, name: Name, from: u32, to: u32) -> Result<Course, StoreError> {
    let lineage = table.lineage(&name.namespace, &name.collection);
    Course::new(name.clone(), from, to, &lineage).map_err(|error| about(&name, error))
}

/// Refuses a way on which records are left behind that no script takes along: the collection's scripts begin later.
pub fn check_oldest(store: &Store, course: &Course) -> Result<(), StoreError> {
    let Course {
        name, from, first, ..
    } = course;
    if from >= first || course.is_back() {
        return Ok(());
    }
    // It may have to look at all of them.
    let left = aside(|| {
        let mut records = store.live_records(everything(name));
        records.find_map(|found| match found {
            Ok((key, record)) => record
                .filter(|record| record.schema < *first)
                .map(|record| Ok((key, record.schema))),
            Err(error) => Some(Err(error)),
        })
    });
    match left.transpose()? {
        None => Ok(()),
        Some((key, schema)) => Err(invalid(format!(
            "{name} has records that no script takes along, e.g. {}/{} of version {schema}: its scripts begin at version \
             {first}; publish those before, too, with `stillpoint migrate publish DIR`",
            name.collection,
            key.escape_ascii()
        ))),
    }
}

/// Refuses a way on which a script cannot go back.
fn check_ways_back(table: &Table, course: Course) -> Result<Course, StoreError> {
    let Course { name, from, to, .. } = &course;
    let lineage = table.lineage(&name.namespace, &name.collection);
    let broken = |error: stillpoint_migrations::StepError| invalid(error.to_string());
    match lineage.without_down(*to, *from).map_err(broken)? {
        None => Ok(course),
        Some(link) => Err(invalid(format!(
            "{} has no `down`, so nothing leads from version {} of {name} back to {}: take what the history has of \
             records that were not written since, with --from-history",
            link.path, link.to, link.from
        ))),
    }
}

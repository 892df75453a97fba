//! How migrations are going.

use std::mem;

use stillpoint_migrations::source::ANY_NAMESPACE;
use stillpoint_proto::v1::{MigrationPhase, MigrationStatus};

use super::{course::other_sessions, migrations::Migrations, name::Name};
use crate::store::schema::{
    Table,
    state::{Phase, SchemaState},
};

/// How all are going that have scripts or a version, in their order.
pub fn all(migrations: &Migrations) -> Vec<MigrationStatus> {
    let table = migrations.store.schemas();
    let stated =
        (table.states()).map(|(namespace, collection, _)| Name::new(namespace, collection));
    let scripted = (table.scripts())
        .map(|script| Name::new(&*script.source.namespace, &*script.source.collection));
    let mut names: Vec<_> = stated.chain(scripted).collect();
    names.sort_unstable();
    names.dedup();
    let statuses = names.iter().map(|name| of(migrations, &table, name));
    statuses.collect()
}

/// How one is going.
pub fn of(migrations: &Migrations, table: &Table, name: &Name) -> MigrationStatus {
    let Name {
        namespace,
        collection,
    } = name;
    let newest_published = newest(table, name);
    let Some(version) = table.version(namespace, collection) else {
        return MigrationStatus {
            collection: Some(name.to_proto()),
            newest_published,
            ..MigrationStatus::default()
        };
    };
    let own = table.state(namespace, collection);
    let followed = own.or_else(|| table.state(ANY_NAMESPACE, collection));
    let state = followed.map(|stated| stated.state.clone());
    let mut state = sums(table, name, state.unwrap_or_default());
    let other_sessions = {
        let index = migrations.store.index();
        other_sessions(name, &index, table, |spoken| spoken != version)
    };
    let stopped_why = match state.stopped_why.is_empty() {
        true => migrations.hindrance(name).unwrap_or_default(),
        false => mem::take(&mut state.stopped_why),
    };
    MigrationStatus {
        collection: Some(name.to_proto()),
        version,
        from_version: state.from_version,
        phase: phase(state.phase).into(),
        newest_published,
        seen: state.seen,
        total: match name.is_any() {
            true => members(table, name, version)
                .map(|(namespace, member)| total(migrations, &name.within(namespace), member))
                .sum::<u64>()
                .max(state.seen),
            false => total(migrations, name, &state),
        },
        rewritten: state.rewritten,
        failed: state.failed,
        failed_max: state.failed_max,
        rate: state.rate,
        applied_ms: state.applied_ms,
        actor: state.actor,
        label: state.label,
        other_sessions,
        stopped_why,
    }
}

/// The records that a collection has: estimated, until all were gone through.
fn total(migrations: &Migrations, name: &Name, state: &SchemaState) -> u64 {
    match state.phase {
        Phase::Rewritten | Phase::Finished => state.seen,
        _ => migrations.total(name).unwrap_or_default().max(state.seen),
    }
}

/// The namespaces with a state of their own that are at a version, as `_any` is.
fn members<'a>(
    table: &'a Table,
    name: &'a Name,
    version: u32,
) -> impl Iterator<Item = (&'a str, &'a SchemaState)> {
    let members = table
        .states()
        .filter(move |(namespace, collection, stated)| {
            *namespace != ANY_NAMESPACE
                && *collection == name.collection
                && stated.state.version == version
        });
    members.map(|(namespace, _, stated)| (namespace, &stated.state))
}

/// The newest version that was published for a collection; 0: none.
pub fn newest(table: &Table, name: &Name) -> u32 {
    let sources = table.sources(&name.namespace, &name.collection);
    let newest = sources.iter().map(|source| source.number).max();
    newest.unwrap_or_default()
}

/// Whether a job is still at work for a collection; for `_any`, in any namespace that goes with it. Who follows `_any` is
/// given a job as long as that is at work.
pub fn is_busy(table: &Table, name: &Name) -> bool {
    let own = table.state(&name.namespace, &name.collection);
    let followed = own.or_else(|| table.state(ANY_NAMESPACE, &name.collection));
    followed.is_some_and(|stated| sums(table, name, stated.state.clone()).phase == Phase::Rewriting)
}

/// The state itself; of `_any`, with what was done in the namespaces that are at the same version: its own job has no records.
fn sums(table: &Table, name: &Name, state: SchemaState) -> SchemaState {
    if !name.is_any() {
        return state;
    }
    let mut sum = state;
    for (namespace, member) in members(table, name, sum.version) {
        sum.seen += member.seen;
        sum.rewritten += member.rewritten;
        sum.failed += member.failed;
        if urgency(member.phase) > urgency(sum.phase) {
            sum.phase = member.phase;
            sum.stopped_why = match member.stopped_why.as_str() {
                "" => String::new(),
                why => format!("{namespace}: {why}"),
            };
        }
    }
    sum
}

/// Which of two phases is told of: the one that somebody waits for, or has to do something about.
fn urgency(phase: Phase) -> u8 {
    match phase {
        Phase::Finished => 0,
        Phase::Rewritten => 1,
        Phase::Paused => 2,
        Phase::Stopped => 3,
        Phase::Rewriting => 4,
    }
}

fn phase(phase: Phase) -> MigrationPhase {
    match phase {
        Phase::Rewriting => MigrationPhase::Rewriting,
        Phase::Paused => MigrationPhase::Paused,
        Phase::Stopped => MigrationPhase::Stopped,
        Phase::Rewritten => MigrationPhase::Rewritten,
        Phase::Finished => MigrationPhase::Finished,
    }
}

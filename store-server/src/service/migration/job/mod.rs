//! The background job: it brings the records of a collection to the version that counts.
//!
//! # Idea
//!
//! It goes through a collection in the order of keys, portion by portion. A portion is read and converted off the writer, then
//! committed together with how far the job is. Each record is rewritten only if nobody wrote it since it was read: who did has
//! written the new version. And the commit is refused as a whole if the state of the collection is not the one that the portion
//! was made for, since somebody has paused the job, or rolled back. So it needs no lock, and it can be killed at any moment:
//! what is committed says where to go on.
//!
//! Who reads sees the version that counts all the time, whatever the job does.
//!
//! # Layout
//!
//! - `portion`: some records, converted. `before`: what they were, where the history is the way back.
//! - `pace`: no faster than it may be.

mod before;
mod pace;
mod portion;

use std::{convert::Infallible, future, sync::Arc, time::Duration};

use stillpoint_proto::v1::{Reason, StoreError};
use tokio::{task::spawn_blocking, time::sleep};

use self::{
    pace::Pace,
    portion::{Portion, Work},
};
use super::{
    migrations::{Migrations, state_commit, state_of},
    name::Name,
    targets::{has_records, members},
};
use crate::store::{
    keys,
    schema::{
        Check, SchemaCommit,
        state::{self, Phase, SchemaState},
    },
};

/// How long the job waits before it tries again what did not work.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The same where somebody else changed the state in this moment.
const CONFLICT_AFTER: Duration = Duration::from_millis(10);

/// Does what there is to do, one collection after another, for as long as the server runs.
pub async fn run(migrations: Arc<Migrations>) -> Infallible {
    let mut changed = migrations.changed();
    loop {
        // What changes from here on is heard of below.
        changed.mark_unchanged();
        let Some(name) = next(&migrations) else {
            // The sender is one's own.
            drop(changed.changed().await);
            continue;
        };
        let done = tokio::select! {
            done = rewrite(&migrations, &name) => done,
            () = migrations.stopped() => future::pending().await,
        };
        let Err(error) = done else {
            migrations.hinder(None);
            continue;
        };
        match error.reason() {
            Reason::VersionConflict => sleep(CONFLICT_AFTER).await,
            _ => {
                migrations.hinder(Some((&name, &error)));
                sleep(RETRY_AFTER).await;
            }
        }
    }
}

/// The next collection that has something to do.
fn next(migrations: &Migrations) -> Option<Name> {
    let table = migrations.store.schemas();
    let busy = table
        .states()
        .filter(|(_, _, stated)| stated.state.phase == Phase::Rewriting);
    busy.map(|(namespace, collection, _)| Name::new(namespace, collection))
        .min()
}

/// Goes on with a collection, until its job is through or rests.
async fn rewrite(migrations: &Arc<Migrations>, name: &Name) -> Result<(), StoreError> {
    if name.is_any() {
        return adopt(migrations, name).await;
    }
    let (Some(begun), _) = state_of(&migrations.store, name) else {
        return Ok(());
    };
    let mut work = Work::new(&migrations.store, migrations.stopping.clone(), name);
    if begun.seen == 0 || migrations.total(name).is_none() {
        let total;
        (work, total) = aside(work, Work::count).await?;
        migrations.set_total(name, total?);
    }
    // Records of the last portion that somebody else wrote meanwhile: they are counted as rewritten.
    let mut overcounted = 0;
    loop {
        let (Some(state), seen_rev) = state_of(&migrations.store, name) else {
            return Ok(());
        };
        if (state.version, state.applied_ms) != (begun.version, begun.applied_ms) {
            // It is another job now.
            return Ok(());
        }
        if state.phase != Phase::Rewriting {
            return correct(migrations, name, state, seen_rev, overcounted).await;
        }
        let pace = Pace::begin(match state.rate {
            0 => migrations.store.config().migration.records_per_second,
            rate => rate,
        });
        let portion;
        let of = state.clone();
        (work, portion) = aside(work, move |work| work.portion(&of, pace.records())).await?;
        let Some(portion) = portion? else {
            // The server stops.
            return future::pending().await;
        };
        let (worked, records) = (portion.worked, portion.rewritten.len());
        let commit = commit(name, seen_rev, &state, portion, overcounted);
        match migrations.commit(commit).await {
            Ok(committed) => {
                migrations.hinder(None);
                overcounted = (records - committed.rewritten) as u64;
                pace.rest(worked, records).await;
            }
            // Somebody has paused it, or done something else with it: the next look at the state shows it.
            Err(error) if error.reason() == Reason::VersionConflict => sleep(CONFLICT_AFTER).await,
            Err(error) => return Err(error),
        }
    }
}

/// Does some work where it may take its time.
async fn aside<T: Send + 'static>(
    mut work: Work,
    run: impl FnOnce(&mut Work) -> T + Send + 'static,
) -> Result<(Work, T), StoreError> {
    let done = spawn_blocking(move || {
        let done = run(&mut work);
        (work, done)
    });
    done.await.map_err(|error| {
        let message = format!("the migration's thread failed: {error}");
        StoreError::new(Reason::Internal, message)
    })
}

/// A portion, and how far the job is with it.
fn commit(
    name: &Name,
    seen_rev: u64,
    state: &SchemaState,
    portion: Portion,
    overcounted: u64,
) -> SchemaCommit {
    let mut state = SchemaState {
        seen: state.seen + portion.seen,
        rewritten: (state.rewritten + portion.rewritten.len() as u64).saturating_sub(overcounted),
        failed: state.failed + portion.failed.len() as u64,
        cursor: portion.cursor.to_vec(),
        ..state.clone()
    };
    if let Some((key, failed)) = portion
        .failed
        .last()
        .filter(|_| state.failed > state.failed_max)
    {
        state.phase = Phase::Stopped;
        state.stopped_why = format!(
            "{} records cannot be migrated, and {} is the limit (failed_max); the last is {}/{}: {}. Look at them with \
             `stillpoint migrate quarantine`; then go on with `stillpoint migrate resume`, or back with `rollback`",
            state.failed,
            state.failed_max,
            name.collection,
            key.escape_ascii(),
            failed.error
        );
    } else if portion.is_last {
        state.phase = Phase::Rewritten;
        state.cursor.clear();
    }
    let mut commit = state_commit(name, seen_rev, &state);
    commit.records = portion.rewritten;
    commit
        .own
        .extend(portion.failed.iter().map(|(key, failed)| {
            let record = state::quarantine_name(&name.collection, key);
            (
                keys::System::Quarantine,
                record,
                Some(state::encode(failed)),
            )
        }));
    commit
}

/// Takes back what was counted too much, once the job rests.
async fn correct(
    migrations: &Migrations,
    name: &Name,
    mut state: SchemaState,
    seen_rev: u64,
    overcounted: u64,
) -> Result<(), StoreError> {
    if overcounted == 0 {
        return Ok(());
    }
    state.rewritten = state.rewritten.saturating_sub(overcounted);
    let corrected = migrations
        .commit(state_commit(name, seen_rev, &state))
        .await;
    corrected.map(drop)
}

/// The job of `_any`: namespaces that got their first records of the collection while it was applied have followed `_any`; now
/// each gets a state, and so a job, of its own.
async fn adopt(migrations: &Arc<Migrations>, name: &Name) -> Result<(), StoreError> {
    let (Some(mut state), seen_rev) = state_of(&migrations.store, name) else {
        return Ok(());
    };
    let table = migrations.store.schemas();
    for member in members(&migrations.store, &table, name)? {
        let is_known = table.state(&member.namespace, &member.collection).is_some();
        if member.is_any() || is_known || !has_records(&migrations.store, &member)? {
            continue;
        }
        let adopted = SchemaCommit {
            check: Some(unchanged(name, seen_rev)),
            ..state_commit(&member, 0, &state)
        };
        migrations.commit(adopted).await?;
    }
    state.phase = Phase::Rewritten;
    migrations
        .commit(state_commit(name, seen_rev, &state))
        .await
        .map(drop)
}

/// Refuses a commit unless a state is the one that was read: who gets a copy would keep an old one.
fn unchanged(name: &Name, seen_rev: u64) -> Check {
    let name = name.clone();
    Box::new(move |_, table| {
        let stated = table.state(&name.namespace, &name.collection);
        match stated.is_some_and(|stated| stated.revision == seen_rev) {
            true => Ok(()),
            false => {
                let message = format!("the migration of {name} was changed meanwhile");
                Err(StoreError::new(Reason::VersionConflict, message))
            }
        }
    })
}

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
//! - `turns`: which collection is next. One that is slow, or that something keeps from going on, holds up no other, but for
//!   those that it shares a pace with.
//! - `portion`: some records, converted. `before`: what they were, where the history is the way back.
//! - `pace`: no faster than it may be.

mod before;
mod pace;
mod portion;
mod turns;

use std::{
    convert::Infallible,
    future,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use stillpoint_proto::v1::{Reason, StoreError};
use tokio::{task::spawn_blocking, time::sleep};

use self::{
    pace::Pace,
    portion::{Portion, Work},
    turns::{After, Busy, Job, Share, Task, Turn, Turns},
};
use super::{
    migrations::{Migrations, state_commit, state_of},
    name::Name,
    targets::{has_records, members},
};
use crate::store::{
    keys,
    schema::{
        Check, Done, Failed, SchemaCommit, Table,
        state::{self, Phase, Quarantined, SchemaState},
    },
};

/// How long the job waits before it tries again what did not work.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The same where somebody else changed the state in this moment.
const CONFLICT_AFTER: Duration = Duration::from_millis(10);

/// Everybody rests at most so long for the work of one: that is enough for all but scripts that are very slow, which rest by
/// themselves.
const REST_OF_ALL_MAX: Duration = Duration::from_millis(10);

/// Does what there is to do, in turns, for as long as the server runs.
pub async fn run(migrations: Arc<Migrations>) -> Infallible {
    let mut changed = migrations.changed();
    let mut turns = Turns::default();
    loop {
        // What changes from here on is heard of below.
        changed.mark_unchanged();
        let busy = busy(&migrations.store.schemas());
        migrations.forget_hindrances(|name| busy.contains_key(name));
        if let Some((holder, waiting)) = turns.waiting(&busy) {
            let why = format!(
                "it waits for {holder}, which holds what it found in the history: `stillpoint migrate resume {holder} --rate N` \
                 makes that faster"
            );
            for name in waiting {
                migrations.hinder(name, Some(&why));
            }
        }
        let (name, task) = match turns.next(&busy, Instant::now()) {
            Turn::Of(name, task) => (name, task),
            Turn::At(due) => {
                tokio::select! {
                    // The sender is one's own.
                    _ = changed.changed() => {}
                    () = sleep(due.saturating_duration_since(Instant::now())) => {}
                }
                continue;
            }
            Turn::Nobody => {
                drop(changed.changed().await);
                continue;
            }
        };
        let done = tokio::select! {
            done = turn(&migrations, &name, task) => done,
            () = migrations.stopped() => future::pending().await,
        };
        match done {
            Ok(after) => {
                migrations.hinder(&name, None);
                turns.rest(&name, &busy, &after, Instant::now());
                sleep(after.rest.min(REST_OF_ALL_MAX)).await;
            }
            // Somebody has paused it, or done something else with it: the next look at the state shows it.
            Err(error) if error.reason() == Reason::VersionConflict => {
                task.due = Some(Instant::now() + CONFLICT_AFTER);
            }
            Err(error) => {
                migrations.hinder(&name, Some(&error.message));
                task.due = Some(Instant::now() + RETRY_AFTER);
            }
        }
    }
}

/// The collections that have something to do.
fn busy(table: &Table) -> Busy {
    let busy = table
        .states()
        .filter(|(_, _, stated)| stated.state.phase == Phase::Rewriting);
    busy.map(|(namespace, collection, stated)| {
        let job = Job {
            from_history: stated.state.from_history,
            share: Share::of(&stated.state),
        };
        (Name::new(namespace, collection), job)
    })
    .collect()
}

/// One turn of a collection: its next portion.
async fn turn(
    migrations: &Arc<Migrations>,
    name: &Name,
    task: &mut Task,
) -> Result<After, StoreError> {
    let (state, seen_rev) = state_of(&migrations.store, name);
    if migrations.store.reader().revision(&name.namespace) < seen_rev {
        // States are published before what was written with them, and before them in one batch: that would be passed by.
        let message = format!("the commit of the state of {name} cannot be read yet");
        return Err(StoreError::new(Reason::VersionConflict, message));
    }
    if name.is_any() {
        return adopt(migrations, name).await.map(|()| After::default());
    }
    let Some(state) = state else {
        return Ok(After::default());
    };
    if state.phase != Phase::Rewriting {
        return Ok(After::default());
    }
    task.is_holder = false;
    let known = task.work.take();
    let mut work = match known.filter(|_| task.job == (state.version, state.applied_ms)) {
        Some(work) => work,
        None => {
            // It is another job now.
            task.job = (state.version, state.applied_ms);
            task.is_counted = state.seen > 0 && migrations.total(name).is_some();
            Work::new(&migrations.store, migrations.stopping.clone(), name)
        }
    };
    if !task.is_counted {
        let counted;
        (work, counted) = aside(work, Work::count).await?;
        let (worked, total) = counted?;
        let Some(total) = total else {
            task.work = Some(work);
            let rest = pace::rest(worked, Duration::ZERO);
            return Ok(After { due: None, rest });
        };
        migrations.set_total(name, total);
        task.is_counted = true;
    }
    let pace = Pace::begin(match state.rate {
        0 => migrations.store.config().migration.records_per_second,
        rate => rate,
    });
    let portion;
    let of = state.clone();
    (work, portion) = aside(work, move |work| work.portion(&of, pace)).await?;
    // What goes wrong here begins anew, and holds up nobody meanwhile.
    let Some(portion) = portion? else {
        // The server stops.
        return future::pending().await;
    };
    task.is_holder = work.remembers();
    task.work = Some(work);
    let after = After {
        due: Some(pace.due(portion.rewritten.len())),
        rest: pace::rest(portion.worked, portion.looked),
    };
    migrations
        .commit(commit(name, seen_rev, &state, portion))
        .await?;
    Ok(after)
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
fn commit(name: &Name, seen_rev: u64, before: &SchemaState, portion: Portion) -> SchemaCommit {
    let Portion {
        rewritten,
        failed,
        seen,
        cursor,
        is_last,
        ..
    } = portion;
    let entries = failed.iter().map(|(key, failed)| Failed {
        key: keys::record(&name.namespace, &name.collection, key),
        seen_rev: failed.mod_rev,
        name: state::quarantine_name(&name.collection, key),
        entry: state::encode(failed),
    });
    let entries = entries.collect();
    let (of, before) = (name.clone(), before.clone());
    let actor = before.actor.clone();
    let progress = move |done: &Done| {
        let mut state = SchemaState {
            seen: before.seen + seen,
            rewritten: before.rewritten + done.rewritten as u64,
            failed: before.failed + done.failed.len() as u64,
            cursor: cursor.to_vec(),
            ..before
        };
        if state.failed > state.failed_max {
            let last = done.failed.last().and_then(|place| failed.get(*place));
            state.stopped_why = why_stopped(&of, &state, last);
            state.phase = Phase::Stopped;
        } else if is_last {
            state.phase = Phase::Rewritten;
            state.cursor.clear();
        }
        state::encode(&state)
    };
    SchemaCommit {
        namespace: name.namespace.as_str().into(),
        state: Some((name.collection.clone(), seen_rev)),
        records: rewritten,
        failed: entries,
        progress: Some(Box::new(progress)),
        actor,
        ..SchemaCommit::default()
    }
}

/// Why a job that met too many bad records does not go on, for people.
fn why_stopped(name: &Name, state: &SchemaState, last: Option<&(Bytes, Quarantined)>) -> String {
    let last = last.map_or_else(String::new, |(key, failed)| {
        format!(
            "; the last is {}/{}: {}",
            name.collection,
            key.escape_ascii(),
            failed.error
        )
    });
    format!(
        "{} records cannot be migrated, and {} is the limit (failed_max){last}. Look at them with `stillpoint migrate \
         quarantine`; then go on with `stillpoint migrate resume`, or back with `rollback`",
        state.failed, state.failed_max
    )
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

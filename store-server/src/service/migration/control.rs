//! An operator holds a job up, lets it go on, or declares that nobody goes back.

use std::sync::Arc;

use bytes::Bytes;
use stillpoint_migrations::source::ANY_NAMESPACE;
use stillpoint_proto::v1::{
    FinishMigrationRequest, MigrationStatus, PauseMigrationRequest, Reason, ResumeMigrationRequest,
    StoreError,
};
use tokio::{task::spawn_blocking, time::sleep};

use super::{
    course::{first_ten, other_sessions},
    migrations::{Migrations, TRIES, TRY_EVERY, about, invalid, state_commit, state_of},
    name::Name,
    quarantine, status,
};
use crate::{
    service::backup::audit::Asked,
    store::{
        Store,
        index::Index,
        keys::System,
        schema::{
            SchemaCommit, Table,
            state::{Phase, SchemaState},
        },
    },
};

/// Holds a job up.
pub async fn pause(
    migrations: &Arc<Migrations>,
    request: PauseMigrationRequest,
    peer: &str,
) -> Result<MigrationStatus, StoreError> {
    let name = Name::asked(request.collection)?;
    let asked = ("migrate pause", &*request.actor, peer);
    audited(migrations, &name, asked, async |_| {
        let mut is_held = hold(migrations, &name, &name).await?;
        // Once `_any` is held up it gives no namespace a job any more, so these are all.
        let members = stated(&migrations.store.schemas(), &name)?;
        for member in &members {
            is_held |= hold(migrations, &name, member).await?;
        }
        match is_held {
            true => Ok("it is held up"),
            false => Err(not_at_work(phase_of(migrations, &name))),
        }
    })
    .await
}

/// Holds the job of one of those up that are meant; whether it has anything to do.
async fn hold(migrations: &Arc<Migrations>, asked: &Name, name: &Name) -> Result<bool, StoreError> {
    update(migrations, name, |state| {
        state.phase = match state.phase {
            Phase::Rewriting | Phase::Paused => Phase::Paused,
            _ if asked.is_any() => return Ok(None),
            phase => return Err(not_at_work(phase)),
        };
        Ok(Some(SchemaCommit::default()))
    })
    .await
}

/// Lets a job go on.
pub async fn resume(
    migrations: &Arc<Migrations>,
    request: ResumeMigrationRequest,
    peer: &str,
) -> Result<MigrationStatus, StoreError> {
    let name = Name::asked(request.collection)?;
    let asked = ("migrate resume", &*request.actor, peer);
    let failed_more = migrations.store.config().migration.failed_max;
    let change = |state: &mut SchemaState| {
        match state.phase {
            Phase::Rewriting | Phase::Paused => {}
            // Where so many have failed, as many more may.
            Phase::Stopped => state.failed_max = state.failed.saturating_add(failed_more),
            _ if name.is_any() => return Ok(None),
            phase => return Err(not_at_work(phase)),
        }
        state.phase = Phase::Rewriting;
        state.stopped_why.clear();
        if request.rate > 0 {
            state.rate = request.rate;
        }
        if request.failed_max > 0 {
            state.failed_max = request.failed_max;
        }
        if state.failed > state.failed_max {
            return Err(invalid(format!(
                "{} records have failed already, so a failed_max of {} would stop it at once: give at least {}, or leave it \
                 out for {failed_more} more",
                state.failed, state.failed_max, state.failed
            )));
        }
        Ok(Some(SchemaCommit::default()))
    };
    audited(migrations, &name, asked, async |members| {
        // All or none, as far as that can be told.
        for member in members {
            let (state, _) = state_of(&migrations.store, member);
            change(&mut state.unwrap_or_default()).map_err(|error| about(member, error))?;
        }
        let mut goes_on = false;
        for member in members {
            goes_on |= update(migrations, member, change).await?;
        }
        match goes_on {
            true => Ok("it goes on"),
            false => Err(not_at_work(phase_of(migrations, &name))),
        }
    })
    .await
}

/// Declares that nobody goes back.
pub async fn finish(
    migrations: &Arc<Migrations>,
    request: FinishMigrationRequest,
    peer: &str,
) -> Result<MigrationStatus, StoreError> {
    let name = Name::asked(request.collection)?;
    let _turn = migrations.enter()?;
    let asked = ("migrate finish", &*request.actor, peer);
    audited(migrations, &name, asked, async |members| {
        let mut stale = Vec::new();
        for member in members {
            let (state, _) = state_of(&migrations.store, member);
            check_through(member, &state.unwrap_or_default())?;
            stale.push(sweep(migrations, member).await?);
            let (table, index) = (migrations.store.schemas(), migrations.store.index());
            check_sessions(member, &index, &table)?;
        }
        for (member, stale) in members.iter().zip(stale) {
            let finished = update(migrations, member, |state| {
                check_through(member, state)?;
                state.phase = Phase::Finished;
                state.finished_version = state.version;
                let checked = member.clone();
                Ok(Some(SchemaCommit {
                    check: Some(Box::new(move |index, table| {
                        check_sessions(&checked, index, table)
                    })),
                    own: removals(&stale),
                    ..SchemaCommit::default()
                }))
            });
            finished.await?;
        }
        Ok("nobody goes back any more")
    })
    .await
}

/// Does something with all collections that are meant, and writes it down.
async fn audited(
    migrations: &Arc<Migrations>,
    name: &Name,
    (what, actor, peer): (&str, &str, &str),
    act: impl AsyncFnOnce(&[Name]) -> Result<&'static str, StoreError>,
) -> Result<MigrationStatus, StoreError> {
    let members = stated(&migrations.store.schemas(), name)?;
    let written = migrations
        .audit(Asked {
            what,
            actor,
            peer,
            subject: &name.to_string(),
            namespace: match name.is_any() {
                true => "",
                false => &name.namespace,
            },
        })
        .await;
    let done = act(&members).await;
    let outcome = match &done {
        Ok(message) => Ok(*message),
        Err(error) => Err(&*error.message),
    };
    written.end(outcome).await;
    done?;
    tracing::info!(%name, what, actor, "a migration was changed");
    Ok(status::of(migrations, &migrations.store.schemas(), name))
}

/// The collections with a state that a name means: itself, and for `_any` all namespaces that are at its version.
fn stated(table: &Table, name: &Name) -> Result<Vec<Name>, StoreError> {
    let own = table.state(&name.namespace, &name.collection);
    let Some(own) = own else {
        let follows = table.state(ANY_NAMESPACE, &name.collection).is_some();
        return Err(invalid(match follows {
            true => format!(
                "{name} has nothing of its own, it goes with {}: name that",
                name.within(ANY_NAMESPACE)
            ),
            false => format!("{name} was never migrated"),
        }));
    };
    let members = table.states().filter(|(namespace, collection, stated)| {
        *collection == name.collection
            && (*namespace == name.namespace
                || name.is_any() && stated.state.version == own.state.version)
    });
    let mut members: Vec<_> = members
        .map(|(namespace, collection, _)| Name::new(namespace, collection))
        .collect();
    members.sort_unstable();
    Ok(members)
}

/// Changes a state, again where the job was faster. What `change` gives is committed with it; nothing is, if it gives nothing.
/// Whether it gave something.
async fn update(
    migrations: &Arc<Migrations>,
    name: &Name,
    change: impl Fn(&mut SchemaState) -> Result<Option<SchemaCommit>, StoreError>,
) -> Result<bool, StoreError> {
    let mut tries = 0;
    loop {
        let (state, seen_rev) = state_of(&migrations.store, name);
        let before = state.unwrap_or_default();
        let mut state = before.clone();
        let Some(mut more) = change(&mut state).map_err(|error| about(name, error))? else {
            return Ok(false);
        };
        if state == before {
            return Ok(true);
        }
        let mut commit = state_commit(name, seen_rev, &state);
        commit.own.append(&mut more.own);
        commit.check = more.check;
        match migrations.commit(commit).await {
            Err(error) if error.reason() == Reason::VersionConflict && tries < TRIES => tries += 1,
            done => return done.map(|_| true),
        }
        sleep(TRY_EVERY).await;
    }
}

fn phase_of(migrations: &Migrations, name: &Name) -> Phase {
    let (state, _) = state_of(&migrations.store, name);
    state.unwrap_or_default().phase
}

fn not_at_work(phase: Phase) -> StoreError {
    invalid(match phase {
        Phase::Finished => "it is finished: there is nothing to hold up",
        _ => "all records were looked at: there is nothing to hold up",
    })
}

fn check_through(name: &Name, state: &SchemaState) -> Result<(), StoreError> {
    let remedy = match state.phase {
        Phase::Rewritten | Phase::Finished => return Ok(()),
        Phase::Rewriting => {
            "is still being rewritten: `stillpoint migrate status` shows when it is through"
        }
        Phase::Paused | Phase::Stopped => {
            "has records that were not rewritten yet: let it go on with `stillpoint migrate resume`"
        }
    };
    Err(invalid(format!("{name} {remedy}")))
}

/// Refuses while records are in quarantine; removes the entries of those that are not any more, but for the last, which it gives.
async fn sweep(migrations: &Arc<Migrations>, name: &Name) -> Result<Vec<Bytes>, StoreError> {
    let records = aside(migrations, name, quarantine::count).await?;
    if records > 0 {
        let message = format!(
            "{name}: {records} records could not be migrated: mend or delete them (`stillpoint migrate quarantine`), or go \
             back"
        );
        return Err(StoreError::new(Reason::MigrationFailed, message));
    }
    let mut after = Bytes::new();
    loop {
        let (_, seen_rev) = state_of(&migrations.store, name);
        let stale = aside(migrations, name, move |store, name| {
            quarantine::stale(store, name, &after)
        });
        let stale = stale.await?;
        after = match stale.last() {
            Some(last) if stale.len() >= quarantine::PORTION => last.clone(),
            _ => return Ok(stale),
        };
        let commit = SchemaCommit {
            namespace: name.namespace.as_str().into(),
            // A new job may put the same records there again.
            state: Some((name.collection.clone(), seen_rev)),
            own: removals(&stale),
            ..SchemaCommit::default()
        };
        migrations.commit(commit).await?;
    }
}

fn removals(entries: &[Bytes]) -> Vec<(System, Bytes, Option<Bytes>)> {
    let entries = entries.iter();
    entries
        .map(|entry| (System::Quarantine, entry.clone(), None))
        .collect()
}

/// Looks at the quarantine of a collection where that may take its time.
async fn aside<T: Send + 'static>(
    migrations: &Arc<Migrations>,
    name: &Name,
    look: impl FnOnce(&Store, &Name) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (store, of) = (migrations.store.clone(), name.clone());
    let looked = spawn_blocking(move || look(&store, &of)).await;
    looked.map_err(|error| {
        let message = format!("the thread that looks at the quarantine failed: {error}");
        StoreError::new(Reason::Internal, message)
    })?
}

fn check_sessions(name: &Name, index: &Index, table: &Table) -> Result<(), StoreError> {
    let version = table.version(&name.namespace, &name.collection);
    let older = |spoken: u32| version.is_some_and(|version| spoken < version);
    let others = other_sessions(name, index, table, older);
    if others.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{name} is not finished, since these sessions speak an older version: {}. Restart those processes with newer code, \
         one by one, or with `stillpoint restart`",
        first_ten(&others)
    );
    Err(StoreError::new(Reason::SchemaUnsupported, message))
}

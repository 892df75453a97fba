//! Collections are taken to another version: sessions that could not go on are waited for, a label is set, and then the version
//! counts, in one commit each. That commit looks at the sessions again, on the writer's thread: one that was opened meanwhile
//! is waited for, too.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use stillpoint_migrations::source::ANY_NAMESPACE;
use stillpoint_proto::v1::{
    MigrationStatus, MigrationsApplied, Reason, StoreError, WaitingForSessions,
};
use tokio::{
    sync::{OwnedMutexGuard, mpsc},
    time::sleep,
};

use super::{
    course::{Course, refused},
    migrations::{Migrations, TRIES, TRY_EVERY, about, actor, state_commit},
    status,
    targets::check_oldest,
};
use crate::{
    service::backup::audit::Asked,
    store::{
        schema::{
            SchemaCommit,
            state::{Phase, SchemaState},
        },
        server_time_ms,
    },
};

/// How often it is looked whether sessions are still in the way.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How often the caller is told of them, though they are the same.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Messages on their way to a caller.
const TOLD_MAX: usize = 16;

/// What is to be done.
#[derive(Debug)]
pub struct Order {
    /// In the operator's words: `migrate apply`.
    pub what: &'static str,
    /// The ways to go, in this order.
    pub courses: Vec<Course>,
    /// Records to rewrite per second at most; 0: the setting says.
    pub rate: u64,
    /// More records than this that cannot be migrated stop the job; 0: the setting says.
    pub failed_max: u64,
    /// Where a script has no way back, the history is looked at.
    pub from_history: bool,
    /// How long sessions are waited for.
    pub wait: Duration,
    /// Who asks: as they call themselves.
    pub actor: String,
    /// Who asks: as the server knows them.
    pub peer: String,
}

/// What is told.
#[derive(Debug)]
pub enum Told {
    /// These sessions are waited for.
    Waiting(WaitingForSessions),
    /// It is done.
    Applied(MigrationsApplied),
}

type Sender = mpsc::Sender<Result<Told, StoreError>>;

/// Begins, for who has the right to act; gives what is told.
pub fn begin(
    migrations: &Arc<Migrations>,
    turn: OwnedMutexGuard<()>,
    order: Order,
) -> mpsc::Receiver<Result<Told, StoreError>> {
    let (sender, told) = mpsc::channel(TOLD_MAX);
    let migrations = migrations.clone();
    tokio::spawn(async move {
        let done = carry_out(&migrations, order, &sender).await;
        // A caller that gets the end may ask for the next.
        drop(turn);
        let applied = done.map(|migrations| Told::Applied(MigrationsApplied { migrations }));
        drop(sender.send(applied).await);
    });
    told
}

async fn carry_out(
    migrations: &Migrations,
    order: Order,
    sender: &Sender,
) -> Result<Vec<MigrationStatus>, StoreError> {
    let Some(first) = order.courses.first() else {
        return Ok(Vec::new());
    };
    let subject = words(&order.courses);
    let written = migrations
        .audit(Asked {
            what: order.what,
            actor: &order.actor,
            peer: &order.peer,
            subject: &subject,
            namespace: home(first),
        })
        .await;
    let done = go(migrations, &order, sender, &subject).await;
    let outcome = match &done {
        Ok(_) => Ok("the version counts; the records are rewritten in the background"),
        Err(error) => Err(&*error.message),
    };
    written.end(outcome).await;
    match &done {
        Ok(_) => tracing::info!(what = order.what, subject, "a migration counts"),
        Err(error) => tracing::warn!(what = order.what, subject, %error, "a migration was refused"),
    }
    done
}

/// The namespace in which is written what concerns a way.
fn home(course: &Course) -> &str {
    match course.name.is_any() {
        true => "",
        false => &course.name.namespace,
    }
}

/// `game/player 1 -> 2, ...`.
fn words(courses: &[Course]) -> String {
    let words = courses
        .iter()
        .map(|Course { name, from, to, .. }| format!("{name} {from} -> {to}"));
    words.collect::<Vec<_>>().join(", ")
}

async fn go(
    migrations: &Migrations,
    order: &Order,
    sender: &Sender,
    subject: &str,
) -> Result<Vec<MigrationStatus>, StoreError> {
    let mut waiting = Waiting::new(order.wait);
    waiting.for_all(migrations, &order.courses, sender).await?;
    let actor = actor(&order.actor, &order.peer);
    let mut label = label(migrations, order, subject, actor).await?;
    let mut done: Vec<&Course> = Vec::new();
    for course in &order.courses {
        let activated = loop {
            let activated = activate(migrations, order, course, &label, actor).await;
            match &activated {
                // Somebody opened a session in this moment.
                Err(error) if error.reason() == Reason::SchemaUnsupported => {}
                _ => break activated,
            }
            let again = waiting.for_all(migrations, std::slice::from_ref(course), sender);
            if let Err(error) = again.await {
                break Err(error);
            }
            // What was written while they were waited for is before it, too.
            match self::label(migrations, order, subject, actor).await {
                Ok(anew) => label = anew,
                Err(error) => break Err(error),
            }
        };
        if let Err(error) = activated {
            let mut error = about(&course.name, error);
            if !done.is_empty() {
                let done = done.iter().map(|course| course.name.to_string());
                let done = done.collect::<Vec<_>>().join(", ");
                error.message += &format!("; done before that: {done}");
            }
            return Err(error);
        }
        done.push(course);
    }
    let table = migrations.store.schemas();
    let statuses = done
        .iter()
        .map(|course| status::of(migrations, &table, &course.name));
    Ok(statuses.collect())
}

/// Labels this moment; empty: nothing was ever written.
async fn label(
    migrations: &Migrations,
    order: &Order,
    subject: &str,
    actor: &str,
) -> Result<String, StoreError> {
    let note = format!("before `{}`: {subject}", order.what);
    let namespace = order.courses.first().map_or("", home);
    let label = (migrations.store).label_before(namespace, "migration", &note, actor);
    let label = label.await.map_err(|mut error| {
        error.message = format!(
            "the moment before could not be labelled, so there would be no way back to it: {}",
            error.message
        );
        error
    })?;
    Ok(label.unwrap_or_default())
}

/// Makes a version count, also while the job of the one before is at work.
async fn activate(
    migrations: &Migrations,
    order: &Order,
    course: &Course,
    label: &str,
    actor: &str,
) -> Result<(), StoreError> {
    // Records may have been written while sessions were waited for.
    check_oldest(&migrations.store, course)?;
    let mut tries = 0;
    loop {
        let commit = activation(migrations, order, course, label, actor)?;
        match migrations.commit(commit).await {
            // The job was faster.
            Err(error) if error.reason() == Reason::VersionConflict && tries < TRIES => tries += 1,
            done => return done.map(drop),
        }
        sleep(TRY_EVERY).await;
    }
}

/// The commit that makes a version count, if the collection's state is as it is now.
fn activation(
    migrations: &Migrations,
    order: &Order,
    course: &Course,
    label: &str,
    actor: &str,
) -> Result<SchemaCommit, StoreError> {
    let Course { name, from, to, .. } = course;
    let table = migrations.store.schemas();
    let own = table.state(&name.namespace, &name.collection);
    let version = table.version(&name.namespace, &name.collection);
    if version.unwrap_or(0) != *from {
        let message = format!(
            "it is at version {}, and was at {from} when this was asked for: look at `stillpoint migrate status`",
            version.unwrap_or(0)
        );
        return Err(StoreError::new(Reason::VersionConflict, message));
    }
    // Who had nothing of its own has followed `_any`, and what was promised there holds.
    let before = own.or_else(|| table.state(ANY_NAMESPACE, &name.collection));
    let before = before.map(|stated| &stated.state);
    let state = SchemaState {
        version: *to,
        from_version: *from,
        phase: Phase::Rewriting,
        failed_max: match order.failed_max {
            0 => migrations.store.config().migration.failed_max,
            failed_max => failed_max,
        },
        rate: order.rate,
        applied_ms: server_time_ms(),
        actor: actor.into(),
        label: label.into(),
        from_history: order.from_history,
        finished_version: before.map_or(0, SchemaState::floor),
        newest_version: before.map_or(0, SchemaState::newest).max(*from).max(*to),
        ..SchemaState::default()
    };
    let checked = course.clone();
    let seen_rev = own.map_or(0, |stated| stated.revision);
    Ok(SchemaCommit {
        check: Some(Box::new(move |index, table| checked.check(index, table))),
        ..state_commit(name, seen_rev, &state)
    })
}

/// Waits for sessions, up to a time, and tells the caller.
struct Waiting {
    since: Instant,
    wait: Duration,
    told: Option<(WaitingForSessions, Instant)>,
}

impl Waiting {
    fn new(wait: Duration) -> Waiting {
        Waiting {
            since: Instant::now(),
            wait,
            told: None,
        }
    }

    /// Waits until no session is in the way of any of these.
    async fn for_all(
        &mut self,
        migrations: &Migrations,
        courses: &[Course],
        sender: &Sender,
    ) -> Result<(), StoreError> {
        loop {
            let found = {
                let table = migrations.store.schemas();
                let mut ways = courses.iter();
                // Not all in one go: the writer waits for the index.
                ways.find_map(|course| {
                    let waiting = course.in_the_way(&migrations.store.index(), &table)?;
                    Some((course, waiting))
                })
            };
            let Some((course, waiting)) = found else {
                return Ok(());
            };
            if self.since.elapsed() >= self.wait {
                let mut error = refused(&course.name, &waiting);
                if !self.wait.is_zero() {
                    let waited = self.wait.as_secs_f64();
                    error.message = format!("waited for {waited:.1} s: {}", error.message);
                }
                return Err(error);
            }
            self.tell(waiting, sender);
            tokio::select! {
                () = sleep(LOOK_EVERY) => {}
                () = sender.closed() => return Err(given_up("its caller left")),
                () = migrations.stopped() => {
                    return Err(given_up("the server stops; ask again later"));
                }
            }
        }
    }

    fn tell(&mut self, waiting: WaitingForSessions, sender: &Sender) {
        let is_told = (self.told.as_ref())
            .is_some_and(|(last, when)| *last == waiting && when.elapsed() < TELL_EVERY);
        if !is_told {
            self.told = Some((waiting.clone(), Instant::now()));
            // Who reads slowly is told less.
            drop(sender.try_send(Ok(Told::Waiting(waiting))));
        }
    }
}

fn given_up(why: &str) -> StoreError {
    let message = format!("the migration was given up before its version counted: {why}");
    StoreError::new(Reason::Unavailable, message)
}

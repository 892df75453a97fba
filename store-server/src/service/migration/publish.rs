//! Scripts get into the store: after all of them, together with those that are there, were tried with their samples.

use std::{collections::BTreeMap, sync::Arc};

use stillpoint_migrations::{
    Fault, Part, Source, StepError, lint,
    source::{ANY_NAMESPACE, SCRIPT_BYTES_MAX},
};
use stillpoint_proto::{
    name::check_name,
    v1::{MigrationScript, PublishScriptsRequest, PublishScriptsResponse, Reason, StoreError},
};
use tokio::task::spawn_blocking;

use super::migrations::{Migrations, actor, invalid};
use crate::{
    service::{backup::audit::Asked, session::asked::shortened},
    store::{
        keys::System,
        schema::{
            SchemaCommit, Script, Table,
            state::{self, StoredScript},
        },
        server_time_ms,
    },
};

/// Scripts that a store may have.
const SCRIPTS_MAX: usize = 1024;

/// Longest name of a script.
const NAME_LEN_MAX: usize = 64;

/// Faults that a message names.
const FAULTS_MAX: usize = 20;

/// Most bytes that the audit keeps of the scripts' names.
const SUBJECT_BYTES_MAX: usize = 1000;

/// A script's place: namespace, collection and number.
type Place = (String, String, u32);

/// Keeps scripts in the store, if all are sound.
pub async fn publish(
    migrations: &Arc<Migrations>,
    request: PublishScriptsRequest,
    peer: &str,
) -> Result<PublishScriptsResponse, StoreError> {
    let sources = asked(request.scripts)?;
    let _turn = migrations.enter()?;
    let table = migrations.store.schemas();
    let (new, known) = news(&table, sources);
    if new.is_empty() {
        return Ok(response(migrations, Vec::new(), known));
    }
    let all = merged(&table, &new);
    check_room(migrations, &all)?;
    let faults = {
        let (table, new) = (table.clone(), new.clone());
        spawn_blocking(move || faults(&table, &new, &all)).await
    };
    let faults = faults.map_err(|error| {
        let message = format!("the thread that tries scripts failed: {error}");
        StoreError::new(Reason::Internal, message)
    })?;
    if !faults.is_empty() {
        return Err(invalid(first_lines(
            faults.iter().map(StepError::to_string),
        )));
    }

    let paths: Vec<_> = new.iter().map(Source::path).collect();
    let subject = shortened(paths.join(", "), SUBJECT_BYTES_MAX);
    let written = migrations
        .audit(Asked {
            what: "migrate publish",
            actor: &request.actor,
            peer,
            subject: &subject,
            namespace: "",
        })
        .await;
    let kept = keep(migrations, &new, actor(&request.actor, peer)).await;
    let outcome = match &kept {
        Ok(()) => Ok("published"),
        Err(error) => Err(&*error.message),
    };
    written.end(outcome).await;
    kept?;
    tracing::info!(
        scripts = subject,
        actor = request.actor,
        "scripts were published"
    );

    let table = migrations.store.schemas();
    let is_new = |script: &&Arc<Script>| new.contains(&script.source);
    let published = table.scripts().filter(is_new);
    let published = published.map(|script| to_proto(&table, script, false));
    Ok(response(migrations, published.collect(), known))
}

fn response(
    migrations: &Migrations,
    published: Vec<MigrationScript>,
    known: usize,
) -> PublishScriptsResponse {
    PublishScriptsResponse {
        header: Some(migrations.store.header()),
        published,
        known: known.try_into().unwrap_or(u32::MAX),
    }
}

/// The scripts of a request, each with a name that is right; all that is wrong is told, line by line.
pub fn asked(scripts: Vec<MigrationScript>) -> Result<Vec<Source>, StoreError> {
    let mut wrong = Vec::new();
    let mut sources = Vec::with_capacity(scripts.len());
    for script in scripts {
        match check(&script) {
            Ok(()) => sources.push(Source::new(
                script.namespace,
                script.collection,
                script.number,
                script.name,
                script.text,
            )),
            Err(why) => {
                let MigrationScript {
                    namespace,
                    collection,
                    number,
                    ..
                } = script;
                wrong.push(format!("{namespace}/{collection}, number {number}: {why}"));
            }
        }
    }
    match wrong.is_empty() {
        true => Ok(sources),
        false => Err(invalid(first_lines(wrong.into_iter()))),
    }
}

/// The first of some lines, and how many more there are.
fn first_lines(mut lines: impl ExactSizeIterator<Item = String>) -> String {
    let mut first: Vec<_> = lines.by_ref().take(FAULTS_MAX).collect();
    let more = lines.len();
    if more > 0 {
        first.push(format!("and {more} more"));
    }
    first.join("\n")
}

fn check(script: &MigrationScript) -> Result<(), String> {
    check_name("namespace", &script.namespace)?;
    check_name("collection", &script.collection)?;
    let is_right = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    let name = &script.name;
    if script.number == 0 {
        return Err("numbers begin with 1".into());
    }
    if !(1..=NAME_LEN_MAX).contains(&name.len()) || !name.bytes().all(is_right) {
        return Err(format!(
            "invalid name {name:?}: use 1 to {NAME_LEN_MAX} of a-z 0-9 _ -"
        ));
    }
    if script.text.len() > SCRIPT_BYTES_MAX {
        return Err(format!(
            "it has {} bytes: a script has at most {SCRIPT_BYTES_MAX}",
            script.text.len()
        ));
    }
    Ok(())
}

/// Those of the scripts that the store does not have, and how many it has. One that was applied and has got another name is
/// one that it has.
fn news(table: &Table, sources: Vec<Source>) -> (Vec<Source>, usize) {
    let known: BTreeMap<Place, &Arc<Script>> = table
        .scripts()
        .map(|script| (place(&script.source), script))
        .collect();
    let asked = sources.len();
    let is_new = |source: &Source| {
        known.get(&place(source)).is_none_or(|known| {
            known.source.hash != source.hash
                || known.source.name != source.name && !is_applied(table, source)
        })
    };
    let new: Vec<_> = sources.into_iter().filter(is_new).collect();
    let known = asked - new.len();
    (new, known)
}

fn place(source: &Source) -> Place {
    (
        source.namespace.clone(),
        source.collection.clone(),
        source.number,
    )
}

/// All scripts that there are, with these in the place of the store's.
pub fn merged(table: &Table, new: &[Source]) -> Vec<Source> {
    let replaced: Vec<Place> = new.iter().map(place).collect();
    let stay = table
        .scripts()
        .map(|script| &script.source)
        .filter(|source| !replaced.contains(&place(source)));
    let mut all: Vec<_> = stay.chain(new).cloned().collect();
    all.sort_by_key(place);
    all
}

fn check_room(migrations: &Migrations, all: &[Source]) -> Result<(), StoreError> {
    if all.len() > SCRIPTS_MAX {
        let message = format!(
            "the store would have {} scripts: it keeps at most {SCRIPTS_MAX}; make one of several that are not applied yet",
            all.len()
        );
        return Err(StoreError::new(Reason::TooLarge, message));
    }
    let bytes: usize = all.iter().map(|source| source.text.len()).sum();
    let bytes_max = migrations.store.config().limits.message_bytes;
    if bytes > bytes_max {
        let message = format!(
            "the scripts would have {bytes} bytes together: they have to fit into a message of {bytes_max} \
             (limits.message_bytes)"
        );
        return Err(StoreError::new(Reason::TooLarge, message));
    }
    Ok(())
}

/// All that is wrong: those that were applied with another text, and what trying all of them shows.
fn faults(table: &Table, new: &[Source], all: &[Source]) -> Vec<StepError> {
    let mut faults: Vec<_> = changed(table, new).collect();
    faults.extend(lint(all, table.limits()));
    faults
}

/// Those that were applied with another text.
fn changed(table: &Table, new: &[Source]) -> impl Iterator<Item = StepError> {
    let changed = new.iter().filter(|source| is_applied(table, source));
    changed.map(|source| StepError {
        script: source.path(),
        part: Part::Script,
        fault: Fault::Changed,
    })
}

/// Whether a collection that a script serves has ever been at its version or beyond. Then its text is for ever what that version
/// means: a rollback leaves values of it behind, in quarantine, in the log and in backups.
pub fn is_applied(table: &Table, source: &Source) -> bool {
    let mut states = table.states();
    states.any(|(namespace, collection, stated)| {
        source.serves(namespace, collection) && stated.state.newest() >= source.number
    })
}

/// Writes the scripts: those of `_any` first, as the others go on where they end.
async fn keep(migrations: &Migrations, new: &[Source], actor: &str) -> Result<(), StoreError> {
    let published_ms = server_time_ms();
    let mut namespaces: Vec<&str> = new.iter().map(|source| &*source.namespace).collect();
    namespaces.sort_unstable_by_key(|namespace| (*namespace != ANY_NAMESPACE, *namespace));
    namespaces.dedup();
    for namespace in namespaces {
        let own = new.iter().filter(|source| source.namespace == namespace);
        let own = own.map(|source| {
            let name = state::script_name(&source.collection, source.number);
            let script = StoredScript::new(source, published_ms, actor);
            (System::Script, name, Some(state::encode(&script)))
        });
        let commit = SchemaCommit {
            namespace: namespace.into(),
            own: own.collect(),
            actor: actor.into(),
            ..SchemaCommit::default()
        };
        migrations.commit(commit).await?;
    }
    Ok(())
}

/// A script for an answer.
pub fn to_proto(table: &Table, script: &Script, with_text: bool) -> MigrationScript {
    let Script {
        source,
        published_ms,
        actor,
    } = script;
    MigrationScript {
        namespace: source.namespace.clone(),
        collection: source.collection.clone(),
        number: source.number,
        name: source.name.clone(),
        text: match with_text {
            true => source.text.clone(),
            false => String::new(),
        },
        hash: source.hash.as_bytes().to_vec().into(),
        published_ms: *published_ms,
        actor: actor.clone(),
        applied: is_applied(table, source),
    }
}

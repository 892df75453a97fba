//! A backup that the server itself writes to a target, and what is told of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use stillpoint_proto::{
    name::check_label,
    v1::{
        CreateBackupRequest, CreateBackupResponse, Reason, StoreError, create_backup_response::Kind,
    },
};
use tokio::sync::mpsc;
use tonic::Status;

use super::{
    answer, asked,
    audit::{self, Asked},
    turn::{Backups, Turn},
};
use crate::{
    backup::{self, CreateOptions, Manifest, Progress, Target},
    store::Store,
};

type Answer = Result<CreateBackupResponse, Status>;

/// How often its caller is told how far a backup is.
pub(super) const TELL_EVERY: Duration = Duration::from_millis(100);

/// Messages on their way to a caller; what does not fit is not told.
pub(super) const TOLD_MAX: usize = 4;

/// Begins a backup; gives what is told of it.
pub fn begin(
    backups: &Arc<Backups>,
    request: CreateBackupRequest,
    peer: String,
) -> Result<mpsc::Receiver<Answer>, StoreError> {
    if !request.label.is_empty() {
        check_label(&request.label).map_err(|message| StoreError::new(Reason::Invalid, message))?;
    }
    let settings = &backups.store.config().backup;
    let target = asked::target(settings, &request.target, &request.key_file)?;
    let turn = backups.enter("a backup", &request.target, &request.actor)?;
    tracing::info!(
        target = request.target,
        incremental = request.incremental,
        actor = request.actor,
        peer,
        "a backup begins"
    );
    let (sender, told) = mpsc::channel(TOLD_MAX);
    tokio::spawn(take(turn, target, request, peer, sender));
    Ok(told)
}

/// Takes the backup, unless the caller leaves or the server stops.
async fn take(
    turn: Turn,
    target: Target,
    request: CreateBackupRequest,
    peer: String,
    sender: mpsc::Sender<Answer>,
) {
    let backups = turn.backups();
    let written = audit::begin(
        backups,
        Asked {
            what: match request.incremental {
                false => "backup create",
                true => "backup create --incremental",
            },
            actor: &request.actor,
            peer: &peer,
            subject: &request.target,
            namespace: "",
        },
    )
    .await;
    let settings = &backups.store.config().backup;
    let options = CreateOptions {
        incremental: request.incremental,
        label: request.label,
        bytes_per_second: asked::bytes_per_second(settings, request.bytes_per_second),
    };
    let last_told = Mutex::new(None::<Instant>);
    let tell = |progress: Progress| {
        let mut last_told = last_told.lock();
        if last_told.is_none_or(|last| last.elapsed() >= TELL_EVERY) {
            *last_told = Some(Instant::now());
            // Who reads slowly is told less.
            drop(sender.try_send(Ok(message(&backups.store, answer::progress(&progress)))));
        }
    };
    let mut stopping = backups.stopping.clone();
    let ended = tokio::select! {
        ended = backup::create(&backups.store, &target, &options, &tell) => {
            ended.map_err(|error| answer::error(&error))
        }
        () = sender.closed() => {
            tracing::warn!(target = request.target, "a backup was given up: its caller left");
            Err(given_up("its caller left"))
        }
        // What it gives is a lock.
        () = async { drop(stopping.wait_for(|stopping| *stopping).await) } => {
            Err(given_up("the server stops; take it again later"))
        }
    };
    let outcome = match &ended {
        Ok(manifest) => Ok(&*manifest.id),
        Err(error) => Err(&*error.message),
    };
    written.end(outcome).await;
    if let Ok(backup) = &ended {
        backups.schedule.backed_up(&target, backup).await;
    }
    let last = conclude(&backups.store, &request.target, ended);
    // A caller that gets the end may ask for the next one.
    drop(turn);
    drop(sender.send(last).await);
}

fn given_up(why: &str) -> StoreError {
    StoreError::new(
        Reason::Unavailable,
        format!("the backup was given up: {why}"),
    )
}

fn conclude(store: &Store, target: &str, ended: Result<Manifest, StoreError>) -> Answer {
    match ended {
        Ok(manifest) => {
            tracing::info!(target, id = manifest.id, "a backup is complete");
            Ok(message(store, Kind::Done(answer::summary(&manifest))))
        }
        Err(error) => {
            tracing::error!(target, %error, "a backup failed");
            Err(error.to_status())
        }
    }
}

fn message(store: &Store, kind: Kind) -> CreateBackupResponse {
    CreateBackupResponse {
        header: Some(store.header()),
        kind: Some(kind),
    }
}

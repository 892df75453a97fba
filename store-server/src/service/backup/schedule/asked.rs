//! Doing at once what is scheduled for later, because an operator asks for it.

use std::{sync::Arc, time::Instant};

use parking_lot::Mutex;
use stillpoint_proto::v1::{
    Reason, RunScheduledRequest, RunScheduledResponse, StoreError, run_scheduled_response::Kind,
};
use tokio::sync::mpsc;
use tonic::Status;

use super::{job, plan::Job};
use crate::{
    backup::Progress,
    service::backup::{
        answer,
        audit::{self, Asked},
        create::{TELL_EVERY, TOLD_MAX},
        turn::{Backups, Turn},
    },
    store::{Store, server_time_ms},
};

type Answer = Result<RunScheduledResponse, Status>;

/// Begins it; gives what is told of it.
pub fn begin(
    backups: &Arc<Backups>,
    request: RunScheduledRequest,
    peer: String,
) -> Result<mpsc::Receiver<Answer>, StoreError> {
    let job = Job::from_proto(request.job())
        .ok_or_else(|| StoreError::new(Reason::Invalid, "the request names no job"))?;
    let target = &backups.schedule.config.target;
    if target.is_empty() {
        let message = "the server has no place for its backups: set backup.target";
        return Err(StoreError::new(Reason::Invalid, message));
    }
    let turn = backups.enter(job.words(), target, &request.actor)?;
    tracing::info!(actor = request.actor, peer, "{} was asked for", job.words());
    let (sender, told) = mpsc::channel(TOLD_MAX);
    tokio::spawn(run(turn, job, request.actor, peer, sender));
    Ok(told)
}

/// Does it, unless the caller leaves or the server stops.
async fn run(turn: Turn, job: Job, actor: String, peer: String, sender: mpsc::Sender<Answer>) {
    let backups = turn.backups();
    let asked = Asked {
        what: match job {
            Job::Full => "backup schedule --run full",
            Job::Incremental => "backup schedule --run incremental",
            Job::Verify => "backup schedule --run verify",
            Job::Expire => "backup schedule --run expire",
        },
        actor: &actor,
        peer: &peer,
        subject: &backups.schedule.config.target,
        namespace: "",
    };
    let written = audit::begin(backups, asked).await;
    let last_told = Mutex::new(None::<Instant>);
    let tell = |progress: Progress| {
        let mut last_told = last_told.lock();
        if last_told.is_none_or(|last| last.elapsed() >= TELL_EVERY) {
            *last_told = Some(Instant::now());
            let progress = Kind::Progress(answer::backup_progress(&progress));
            // Who reads slowly is told less.
            drop(sender.try_send(Ok(message(&backups.store, progress))));
        }
    };
    let mut stopping = backups.stopping.clone();
    let ended = tokio::select! {
        ended = job::run(backups, job, &server_time_ms, &tell) => {
            ended.map_err(|error| answer::error(&error))
        }
        () = sender.closed() => Err(given_up(job, "its caller left")),
        // What it gives is a lock.
        () = async { drop(stopping.wait_for(|stopping| *stopping).await) } => {
            Err(given_up(job, "the server stops; ask for it again later"))
        }
    };
    if let Err(error) = &ended {
        let keep = backups.schedule.keep(|kept| kept.give_up(&error.message));
        keep.await;
    }
    let outcome = match &ended {
        Ok(done) => Ok(&**done),
        Err(error) => Err(&*error.message),
    };
    written.end(outcome).await;
    backups.schedule.look(server_time_ms()).await;
    let last = match ended {
        Ok(done) => Ok(message(&backups.store, Kind::Done(done))),
        Err(error) => Err(error.to_status()),
    };
    // A caller that gets the end may ask for the next one.
    drop(turn);
    drop(sender.send(last).await);
}

fn given_up(job: Job, why: &str) -> StoreError {
    let message = format!("{} was given up: {why}", job.words());
    tracing::warn!("{message}");
    StoreError::new(Reason::Unavailable, message)
}

fn message(store: &Store, kind: Kind) -> RunScheduledResponse {
    RunScheduledResponse {
        header: Some(store.header()),
        kind: Some(kind),
    }
}

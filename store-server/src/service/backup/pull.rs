//! Giving the files of a backup to a caller who stores them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use stillpoint_proto::v1::{
    PullBackupRequest, PullBackupResponse, PullBegun, PullEnd, PullPart, Reason, StoreError,
    pull_backup_response::Kind,
};
use tokio::{sync::mpsc, task, time::timeout};
use tonic::Status;

use super::{
    answer, asked,
    audit::{self, Asked},
    turn::{Backups, Turn},
};
use crate::{
    backup::{
        BackupError, FileKind,
        give::{Continued, Giving, give},
        pace::Pace,
        portion::Portion,
    },
    store::{State, Store, server_time_ms},
};

/// How long a caller may take for one message. One that has stalled without leaving would keep all other jobs waiting.
const TAKEN_WITHIN: Duration = Duration::from_secs(300);

type Answer = Result<PullBackupResponse, Status>;

/// Messages on their way to the caller. A slow one holds up the reading, not the store.
const TOLD_MAX: usize = 4;

/// Portions that wait to be sent while the next is read.
const PORTIONS_WAITING: usize = 1;

/// Bytes of a file in one message.
const PART_BYTES: usize = 1 << 20;

/// Begins it; gives what is told of it.
pub fn begin(
    backups: &Arc<Backups>,
    request: PullBackupRequest,
    peer: String,
) -> Result<mpsc::Receiver<Answer>, StoreError> {
    if request.incremental && request.incarnation == 0 {
        let message = "an incremental backup continues another: set `base_seq` and `incarnation`";
        return Err(StoreError::new(Reason::Invalid, message));
    }
    let turn = backups.enter("a backup that is pulled", "", &request.actor)?;
    tracing::info!(
        incremental = request.incremental,
        actor = request.actor,
        peer,
        "a backup begins to be pulled"
    );
    let (sender, told) = mpsc::channel(TOLD_MAX);
    tokio::spawn(run(turn, request, peer, sender));
    Ok(told)
}

/// Gives it, unless the caller leaves or the server stops.
async fn run(turn: Turn, request: PullBackupRequest, peer: String, sender: mpsc::Sender<Answer>) {
    let backups = turn.backups();
    let asked = Asked {
        what: match request.incremental {
            false => "backup pull",
            true => "backup pull --incremental",
        },
        actor: &request.actor,
        peer: &peer,
        subject: "",
        namespace: "",
    };
    let written = audit::begin(backups, asked).await;
    let mut stopping = backups.stopping.clone();
    let ended = tokio::select! {
        ended = tell(&backups.store, &request, &sender) => ended.map_err(|error| answer::error(&error)),
        () = sender.closed() => Err(given_up("its caller left")),
        // What it gives is a lock.
        () = async { drop(stopping.wait_for(|stopping| *stopping).await) } => {
            Err(given_up("the server stops; go on with it later"))
        }
    };
    let outcome = match &ended {
        Ok(_) => {
            tracing::info!("a backup was pulled");
            Ok("all of it was told")
        }
        Err(error) => {
            tracing::warn!(%error, "a backup was not pulled to its end");
            Err(&*error.message)
        }
    };
    written.end(outcome).await;
    let header = backups.store.header();
    let last = match ended {
        Ok(end) => Ok(PullBackupResponse {
            header: Some(header),
            kind: Some(Kind::End(end)),
        }),
        Err(error) => Err(error.to_status()),
    };
    // A caller that gets the end may ask for the next one.
    drop(turn);
    drop(timeout(TAKEN_WITHIN, sender.send(last)).await);
}

fn given_up(why: &str) -> StoreError {
    let message = format!("the backup was given up: {why}");
    StoreError::new(Reason::Unavailable, message)
}

/// Tells everything but the end, which it gives.
async fn tell(
    store: &Store,
    request: &PullBackupRequest,
    sender: &mpsc::Sender<Answer>,
) -> Result<PullEnd, BackupError> {
    let (reader, continued) = (store.clone(), continued(request));
    let giving = task::spawn_blocking(move || give(&reader, continued)).await;
    let giving = giving.map_err(|e| BackupError::Store(e.to_string()))??;
    send(store, sender, Kind::Begun(begun(&giving))).await?;
    let (portions, mut read) = mpsc::channel(PORTIONS_WAITING);
    let reading = task::spawn_blocking(move || giving.run(portions));
    let settings = &store.config().backup;
    let pace = Pace::new(asked::bytes_per_second(settings, request.bytes_per_second));
    let mut bytes = 0;
    while let Some(portion) = read.recv().await {
        bytes += portion.file.raw_bytes;
        // Read now, it is behind all that was read for the portion.
        for part in parts(portion, &store.state())? {
            send(store, sender, Kind::Part(part)).await?;
        }
        pace.keep(bytes).await;
    }
    let end = reading.await;
    let end = end.map_err(|e| BackupError::Store(e.to_string()))??;
    Ok(PullEnd {
        last_seq: end.seq,
        as_of_ms: end.as_of_ms,
        state_hash: end.state_hash.unwrap_or_default(),
    })
}

/// Where the caller goes on, if he does.
fn continued(request: &PullBackupRequest) -> Option<Continued> {
    let with_records = !request.incremental && !request.records_done;
    (request.incarnation > 0).then(|| Continued {
        incarnation: request.incarnation,
        base_seq: request.base_seq,
        records_after: with_records.then(|| Bytes::copy_from_slice(&request.after_key)),
        after_seq: request.after_seq,
        seen_seq: request.seen_seq,
    })
}

fn begun(giving: &Giving) -> PullBegun {
    PullBegun {
        store_id: giving.store_id(),
        base_seq: giving.base_seq,
        applied: giving.applied.clone().into(),
        records_total: giving.records_total(),
        log_bytes: giving.log_bytes(),
        begun_ms: server_time_ms(),
        server_version: env!("CARGO_PKG_VERSION").into(),
        last_seq: giving.last_seq(),
        state_hash: giving.state_hash().unwrap_or_default().into(),
        seen_hash: giving.seen_hash.clone().unwrap_or_default(),
    }
}

/// A file in messages; the last says what it is.
fn parts(portion: Portion, state: &State) -> Result<Vec<PullPart>, BackupError> {
    let file = serde_json::to_string(&portion.file)
        .map_err(|e| BackupError::Store(format!("a file cannot be described: {e}")))?;
    let mut rest = portion.bytes;
    let mut parts = Vec::with_capacity(rest.len() / PART_BYTES + 1);
    while rest.len() > PART_BYTES {
        parts.push(PullPart {
            bytes: rest.split_to(PART_BYTES),
            ..PullPart::default()
        });
    }
    let last = PullPart {
        bytes: rest,
        file,
        last_key: portion.last_key,
        ..PullPart::default()
    };
    parts.push(match portion.file.kind {
        FileKind::Records => PullPart {
            seen_seq: state.seq,
            seen_hash: state.state_hash.to_string(),
            ..last
        },
        FileKind::Log => last,
    });
    Ok(parts)
}

async fn send(store: &Store, sender: &mpsc::Sender<Answer>, kind: Kind) -> Result<(), BackupError> {
    let message = PullBackupResponse {
        header: Some(store.header()),
        kind: Some(kind),
    };
    match timeout(TAKEN_WITHIN, sender.send(Ok(message))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(BackupError::Store("the caller left".into())),
        Err(_) => Err(BackupError::Store(format!(
            "the backup was given up: its caller took no message for {} s; go on with it when he does",
            TAKEN_WITHIN.as_secs()
        ))),
    }
}

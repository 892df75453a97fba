//! The one backup that may be under way.

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
use tokio::sync::{mpsc, watch};
use tonic::Status;

use super::answer;
use crate::{
    backup::{self, BackupError, CreateOptions, Manifest, Progress, Target},
    service::session::hub::Hub,
    store::{Store, server_time_ms},
};

/// The backups that are asked for: one at a time.
#[derive(Debug)]
pub struct Backups {
    /// The store.
    pub(super) store: Store,
    /// Who is there.
    pub(super) hub: Arc<Hub>,
    /// Whether the server stops.
    pub(super) stopping: watch::Receiver<bool>,
    under_way: Mutex<Option<UnderWay>>,
}

/// A backup that has not ended.
#[derive(Clone, Debug)]
struct UnderWay {
    target: String,
    begun_ms: u64,
    actor: String,
}

/// The right to take a backup; gives it back when dropped.
#[derive(Debug)]
struct Turn(Arc<Backups>);

type Answer = Result<CreateBackupResponse, Status>;

/// How often its caller is told how far a backup is.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// Messages on their way to a caller; what does not fit is not told.
const TOLD_MAX: usize = 4;

/// How long a caller should wait before it tries again.
const RETRY_AFTER_MS: u64 = 10_000;

impl Backups {
    /// None yet.
    pub fn new(store: Store, hub: Arc<Hub>, stopping: watch::Receiver<bool>) -> Arc<Backups> {
        Arc::new(Backups {
            store,
            hub,
            stopping,
            under_way: Mutex::default(),
        })
    }

    /// Begins a backup; gives what is told of it.
    pub fn begin(
        self: &Arc<Self>,
        request: CreateBackupRequest,
        peer: String,
    ) -> Result<mpsc::Receiver<Answer>, StoreError> {
        if !request.label.is_empty() {
            check_label(&request.label)
                .map_err(|message| StoreError::new(Reason::Invalid, message))?;
        }
        let target = Target::open(&request.target).map_err(|error| answer::error(&error))?;
        let turn = self.enter(UnderWay {
            target: request.target.clone(),
            begun_ms: server_time_ms(),
            actor: request.actor.clone(),
        })?;
        tracing::info!(
            target = request.target,
            incremental = request.incremental,
            actor = request.actor,
            peer,
            "a backup begins"
        );
        let (sender, told) = mpsc::channel(TOLD_MAX);
        tokio::spawn(turn.take(target, request, sender));
        Ok(told)
    }

    fn enter(self: &Arc<Self>, backup: UnderWay) -> Result<Turn, StoreError> {
        let mut under_way = self.under_way.lock();
        if let Some(other) = &*under_way {
            let since = Duration::from_millis(server_time_ms().saturating_sub(other.begun_ms));
            let message = format!(
                "a backup to {}, asked for by {}, has been under way for {} s: there is one at a time, wait for its end",
                other.target,
                match other.actor.as_str() {
                    "" => "somebody",
                    actor => actor,
                },
                since.as_secs()
            );
            let mut error = StoreError::new(Reason::RateLimited, message);
            error.retry_after_ms = RETRY_AFTER_MS;
            return Err(error);
        }
        *under_way = Some(backup);
        Ok(Turn(self.clone()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *self.0.under_way.lock() = None;
    }
}

impl Turn {
    /// Takes the backup, unless the caller leaves or the server stops.
    async fn take(
        self,
        target: Target,
        request: CreateBackupRequest,
        sender: mpsc::Sender<Answer>,
    ) {
        let options = CreateOptions {
            incremental: request.incremental,
            label: request.label,
            bytes_per_second: request.bytes_per_second,
        };
        let last_told = Mutex::new(None::<Instant>);
        let tell = |progress: Progress| {
            let mut last_told = last_told.lock();
            if last_told.is_none_or(|last| last.elapsed() >= TELL_EVERY) {
                *last_told = Some(Instant::now());
                // Who reads slowly is told less.
                drop(sender.try_send(Ok(self.message(answer::progress(&progress)))));
            }
        };
        let mut stopping = self.0.stopping.clone();
        let ended = tokio::select! {
            ended = backup::create(&self.0.store, &target, &options, &tell) => ended,
            () = sender.closed() => {
                tracing::warn!(target = request.target, "a backup was given up: its caller left");
                return;
            }
            _ = stopping.wait_for(|stopping| *stopping) => {
                let message = "the backup was given up: the server stops; take it again later";
                let error = StoreError::new(Reason::Unavailable, message);
                drop(sender.try_send(Err(error.to_status())));
                return;
            }
        };
        let last = self.conclude(&request.target, ended);
        // A caller that gets the end may ask for the next one.
        drop(self);
        drop(sender.send(last).await);
    }

    fn conclude(&self, target: &str, ended: Result<Manifest, BackupError>) -> Answer {
        match ended {
            Ok(manifest) => {
                tracing::info!(target, id = manifest.id, "a backup is complete");
                Ok(self.message(Kind::Done(answer::summary(&manifest))))
            }
            Err(error) => {
                tracing::error!(target, %error, "a backup failed");
                Err(answer::error(&error).to_status())
            }
        }
    }

    fn message(&self, kind: Kind) -> CreateBackupResponse {
        CreateBackupResponse {
            header: Some(self.0.store.header()),
            kind: Some(kind),
        }
    }
}

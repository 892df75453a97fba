//! Bringing the whole running store back to a moment.
//!
//! The state is built beside the data directory while the store takes no writes, so what is given up is known. When it is
//! complete and compared, it is decided that it takes the store's place; who asked is told, and the server, which does the
//! rest when it has drained ([`serve`](crate::serve)). Until the decision whatever goes wrong changes nothing.

use std::{sync::Arc, time::Instant};

use parking_lot::Mutex;
use stillpoint_proto::v1::{
    BackupNamespace, Reason, RestoreStoreRequest, RestoreStoreResponse, RestoreSummary, StoreError,
    restore_store_response::Kind,
};
use tokio::{
    sync::{mpsc, watch},
    task,
};
use tonic::Status;

pub(super) use super::restoring::{check_confirm, progress, to};
use super::{
    answer, asked,
    audit::{self, Asked, Carried},
    create::{TELL_EVERY, TOLD_MAX},
    restoring::words,
    turn::{Backups, Turn},
};
use crate::{
    backup::{self, Progress, RestoreOptions, RestoreReport, Target, To},
    store::{Beside, DataDirError, Paused, Store, Swap},
};

type Answer = Result<RestoreStoreResponse, Status>;

/// The store is to be replaced.
#[derive(Debug)]
pub struct Replacement {
    /// By what.
    pub swap: Swap,
    /// The end of the restore, for the audit of the store that comes.
    pub carried: Option<Carried>,
}

/// Begins it; gives what is told of it.
pub fn begin(
    backups: &Arc<Backups>,
    request: RestoreStoreRequest,
    peer: String,
) -> Result<mpsc::Receiver<Answer>, StoreError> {
    if !request.dry_run {
        check_confirm(&backups.store, &request.confirm)?;
    }
    let restore = Restore {
        target: asked::target(
            &backups.store.config().backup,
            &request.target,
            &request.key_file,
        )?,
        to: to(request.point.clone()),
        beside: backups.store.beside().map_err(refused)?,
        turn: backups.enter(
            "a restore of the whole store",
            &request.target,
            &request.actor,
        )?,
        request,
        peer,
    };
    let (sender, told) = mpsc::channel(TOLD_MAX);
    tokio::spawn(restore.run(sender));
    Ok(told)
}

fn refused(error: DataDirError) -> StoreError {
    let reason = match error {
        DataDirError::MountPoint(_) | DataDirError::Irreplaceable { .. } => Reason::Invalid,
        _ => Reason::Internal,
    };
    StoreError::new(reason, error.to_string())
}

/// A restore under way.
struct Restore {
    turn: Turn,
    target: Target,
    to: To,
    beside: Beside,
    request: RestoreStoreRequest,
    peer: String,
}

impl Restore {
    fn store(&self) -> &Store {
        &self.turn.backups().store
    }

    /// Restores, unless the caller leaves or the server stops.
    async fn run(self, sender: mpsc::Sender<Answer>) {
        // What it gives is a lock.
        let stopped = |mut stopping: watch::Receiver<bool>| async move {
            drop(stopping.wait_for(|stopping| *stopping).await);
        };
        let stopping = self.turn.backups().stopping.clone();
        let last = match self.request.dry_run {
            true => self.rehearse().await.map(|report| {
                let kept_in = self.beside.kept().display().to_string();
                self.summary(&report, kept_in)
            }),
            false => {
                let decided = self.restore(&sender, stopped(stopping.clone())).await;
                if let Ok((summary, replacement)) = decided {
                    let done = self.message(Kind::Done(summary));
                    drop(sender.send(Ok(done)).await);
                    // Its end is one of the answers that a stopping server waits for.
                    drop(sender);
                    self.turn.backups().replace(replacement);
                    // Until then no other job begins.
                    stopped(stopping).await;
                    return;
                }
                decided.map(|(summary, _)| summary)
            }
        };
        let last = match last {
            Ok(summary) => Ok(self.message(Kind::Done(summary))),
            Err(error) => Err(error.to_status()),
        };
        drop(self.turn);
        drop(sender.send(last).await);
    }

    /// What it would be.
    async fn rehearse(&self) -> Result<RestoreReport, StoreError> {
        self.beside.check().map_err(refused)?;
        let beside = self.beside.clone();
        // They may be large.
        drop(task::spawn_blocking(move || beside.sweep()).await);
        let report = self.bring_back(true, &|_| ()).await?;
        let (own, theirs) = (self.store().id(), report.store_id.replace('-', ""));
        if own != theirs {
            let message = format!(
                "{} has the backups of store {theirs}, this is store {own}: restore them into a directory of their own, \
                 with a server of its own",
                self.request.target
            );
            return Err(StoreError::new(Reason::Invalid, message));
        }
        Ok(report)
    }

    async fn bring_back(
        &self,
        dry_run: bool,
        tell: &(dyn Fn(Progress) + Sync),
    ) -> Result<RestoreReport, StoreError> {
        let options = RestoreOptions {
            backup: match self.request.backup.as_str() {
                "" => stillpoint_proto::name::LATEST.into(),
                backup => backup.into(),
            },
            to: self.to.clone(),
            into: self.beside.restored(),
            dry_run,
            reserve_bytes: self.store().config().log.disk_reserve_bytes,
        };
        let incarnation = self.store().header().incarnation;
        backup::restore_above(&self.target, &options, incarnation, tell)
            .await
            .map_err(|error| answer::error(&error))
    }

    /// Builds the state, and decides that it takes the store's place.
    async fn restore(
        &self,
        sender: &mpsc::Sender<Answer>,
        stops: impl Future<Output = ()>,
    ) -> Result<(RestoreSummary, Replacement), StoreError> {
        let (request, backups) = (&self.request, self.turn.backups());
        let report = self.rehearse().await?;
        self.check_room(&report)?;
        let written = audit::begin(
            backups,
            Asked {
                what: "restore --live",
                actor: &request.actor,
                peer: &self.peer,
                subject: &request.target,
                namespace: "",
            },
        )
        .await;
        // In the old state, which is kept: so that a backup of it can be brought back to what is given up.
        let mark = (self.store()).mark_before("", "restore", "", &request.actor);
        let mark = mark.await;
        tracing::warn!(
            target = request.target,
            seq = report.seq,
            mark,
            actor = request.actor,
            peer = self.peer,
            "the store is being restored"
        );
        let paused = self.store().pause_writes(self.reason());
        let built = tokio::select! {
            built = self.build(sender) => built,
            () = sender.closed() => Err(given_up("its caller left")),
            () = stops => Err(given_up("the server stops; ask for it again later")),
        };
        let decided = match built {
            Ok(report) => self.decide(paused).await.map(|swap| (report, swap)),
            Err(error) => {
                drop(paused);
                Err(error)
            }
        };
        match decided {
            Ok((report, swap)) => {
                let summary = self.summary(&report, swap.kept().display().to_string());
                let outcome = format!("back to commit {}", report.seq);
                let carried = written.carry(Ok(&outcome));
                Ok((summary, Replacement { swap, carried }))
            }
            Err(error) => {
                tracing::error!(target = request.target, %error, "the restore failed; nothing was changed");
                written.end(Err(&error.message)).await;
                Err(error)
            }
        }
    }

    async fn build(&self, sender: &mpsc::Sender<Answer>) -> Result<RestoreReport, StoreError> {
        let last_told = Mutex::new(None::<Instant>);
        let tell = |progress: Progress| {
            let mut last_told = last_told.lock();
            if last_told.is_none_or(|last| last.elapsed() >= TELL_EVERY) {
                *last_told = Some(Instant::now());
                // Who reads slowly is told less.
                drop(sender.try_send(Ok(self.message(Kind::Progress(self::progress(&progress))))));
            }
        };
        self.bring_back(false, &tell).await
    }

    async fn decide(&self, paused: Paused) -> Result<Swap, StoreError> {
        let store = self.store().clone();
        let decided = task::spawn_blocking(move || store.decide_swap()).await;
        let swap = decided
            .map_err(|error| StoreError::new(Reason::Internal, error.to_string()))?
            .map_err(refused)?;
        paused.for_good();
        Ok(swap)
    }

    fn check_room(&self, report: &RestoreReport) -> Result<(), StoreError> {
        let root = &self.store().config().data_dir;
        let needed = report.room_bytes;
        let reserve = self.store().config().log.disk_reserve_bytes;
        let Ok(free) = rustix::fs::statvfs(root.as_path()) else {
            return Ok(());
        };
        let free = free.f_bavail.saturating_mul(free.f_frsize);
        if free >= needed.saturating_add(reserve) {
            return Ok(());
        }
        let message = format!(
            "the disk of {} has {free} bytes free; the new state may take {needed}, beside the reserve of {reserve} \
             (log.disk_reserve_bytes), since the old one is kept: make room, or restore into a directory on another disk",
            root.display()
        );
        Err(StoreError::new(Reason::Quota, message))
    }

    /// Why the store takes no writes meanwhile.
    fn reason(&self) -> String {
        let actor = match self.request.actor.as_str() {
            "" => "somebody",
            actor => actor,
        };
        format!(
            "the store is being restored to {}, asked for by {actor}: reads go on, and writes when that is done",
            words(&self.to)
        )
    }

    fn summary(&self, report: &RestoreReport, kept_in: String) -> RestoreSummary {
        let namespaces = report.namespaces.iter();
        RestoreSummary {
            backups: report.backups.clone(),
            seq: report.seq,
            time_ms: report.time_ms,
            namespaces: namespaces
                .map(|(name, state)| BackupNamespace {
                    namespace: name.clone(),
                    revision: state.revision,
                    records: state.records,
                })
                .collect(),
            state_hash: report.state_hash.clone().unwrap_or_default(),
            incarnation: report.incarnation,
            kept_in,
            commits_given_up: self.store().state().seq.saturating_sub(report.seq),
        }
    }

    fn message(&self, kind: Kind) -> RestoreStoreResponse {
        RestoreStoreResponse {
            header: Some(self.store().header()),
            kind: Some(kind),
        }
    }
}

fn given_up(why: &str) -> StoreError {
    StoreError::new(
        Reason::Unavailable,
        format!("the restore was given up: {why}; nothing was changed"),
    )
}

//! Bringing some records of the running store back to a moment.
//!
//! ```text
//!   wanted  which records, and their names where they are written to
//!   source  what they were: from the log, or from a store that is restored from backups aside
//!   compare what differs from what is there
//!   write   writes it, as commits of the store's own, and tells it
//! ```
//!
//! Nothing of it holds up the store: the log is read as watches do, records are compared in portions, and each commit says what
//! it was compared with.

mod compare;
mod source;
mod wanted;
mod write;

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use stillpoint_proto::{
    name::LATEST,
    v1::{
        Reason, RestorePhase, RestoreProgress, RestoreRecordsEnd, RestoreRecordsRequest,
        RestoreRecordsResponse, StoreError, restore_records_response::Kind,
    },
};
use tokio::{
    runtime::Handle,
    sync::{
        mpsc::{self, error::SendTimeoutError},
        watch,
    },
    task,
};
use tonic::Status;

use self::{source::Source, wanted::Wanted, write::Work};
use super::{
    answer, asked,
    audit::{self, Asked},
    create::{TELL_EVERY, TOLD_MAX},
    restore_store::{check_confirm, progress, to},
    turn::{Backups, Turn},
};
use crate::{
    backup::{self, Progress, RestoreOptions, Scratch, Target},
    store::{
        AtRest, Store,
        moment::{Scanned, given_up},
    },
};

type Answer = Result<RestoreRecordsResponse, Status>;

/// A caller that has read nothing for so long holds up whoever is next: a pager may be at its other end.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// Begins it; gives what is told of it.
pub fn begin(
    backups: &Arc<Backups>,
    request: RestoreRecordsRequest,
    peer: String,
) -> Result<mpsc::Receiver<Answer>, StoreError> {
    let store = &backups.store;
    if !request.dry_run {
        check_confirm(store, &request.confirm)?;
    }
    let settings = &store.config().backup;
    let target = match request.target.as_str() {
        "" => None,
        url => Some(asked::target(settings, url, &request.key_file)?),
    };
    let restore = Restore {
        wanted: Wanted::new(store, &request)?,
        target,
        turn: backups.enter("a restore of records", &request.target, &request.actor)?,
        request,
        peer,
    };
    let (sender, told) = mpsc::channel(TOLD_MAX);
    tokio::spawn(restore.run(sender));
    Ok(told)
}

/// A restore under way.
struct Restore {
    turn: Turn,
    wanted: Wanted,
    /// Where the backups are; none: it is from the log.
    target: Option<Target>,
    request: RestoreRecordsRequest,
    peer: String,
}

impl Restore {
    fn store(&self) -> &Store {
        &self.turn.backups().store
    }

    /// Restores, and writes down that it was asked for, unless it is a rehearsal.
    async fn run(self, sender: mpsc::Sender<Answer>) {
        let subject = format!(
            "{} of namespace {}",
            self.wanted.text(),
            self.wanted.of.namespace
        );
        let written = match self.request.dry_run {
            true => None,
            false => {
                let asked = Asked {
                    what: "restore records",
                    actor: &self.request.actor,
                    peer: &self.peer,
                    subject: &subject,
                    namespace: &self.wanted.names.namespace,
                };
                Some(audit::begin(self.turn.backups(), asked).await)
            }
        };
        let teller = Teller::new(
            self.store(),
            self.turn.backups().stopping.clone(),
            sender.clone(),
        );
        let restore = Arc::new(self);
        let ended = restore.clone().restore(teller).await;
        if let Some(written) = written {
            let outcome = ended.as_ref().map(outcome);
            let outcome = outcome.as_deref();
            written.end(outcome.map_err(|error| &*error.message)).await;
        }
        let last = match ended {
            Ok(end) => Ok(message(restore.store(), Kind::End(end))),
            Err(error) => {
                tracing::warn!(subject, %error, "records were not brought back");
                Err(error.to_status())
            }
        };
        // A caller that gets the end may ask for the next one.
        drop(restore);
        drop(sender.send(last).await);
    }

    async fn restore(self: Arc<Self>, teller: Teller) -> Result<RestoreRecordsEnd, StoreError> {
        let backup = match &self.target {
            Some(target) => Some(self.restore_aside(target, &teller).await?),
            None => None,
        };
        let handle = Handle::current();
        let work = task::spawn_blocking(move || self.work(backup, teller, &handle));
        let ended = work.await;
        ended.map_err(failed)?
    }

    /// Restores the store as it was into a directory of its own, to be looked at. Gives its newest commit, too.
    async fn restore_aside(
        &self,
        target: &Target,
        teller: &Teller,
    ) -> Result<(Source, u64), StoreError> {
        let store = self.store();
        let mut options = RestoreOptions {
            backup: match self.request.backup.as_str() {
                "" => LATEST.into(),
                backup => backup.into(),
            },
            to: to(self.request.point.clone()),
            into: store.config().data_dir.join("nowhere"),
            dry_run: true,
            reserve_bytes: store.config().log.disk_reserve_bytes,
        };
        let plan = backup::restore(target, &options, &|_| ()).await;
        let plan = plan.map_err(|error| answer::error(&error))?;
        let (own, theirs) = (store.id(), plan.store_id.replace('-', ""));
        if own != theirs {
            let message = format!(
                "{} has the backups of store {theirs}, this is store {own}: restore them into a directory of their own, and \
                 take the records from there with `stillpoint dump` and `stillpoint load`",
                self.request.target
            );
            return Err(StoreError::new(Reason::Invalid, message));
        }
        let scratch = self.scratch().await?;
        options.into = scratch.path().join("store");
        options.dry_run = false;
        let tell = |told: Progress| teller.tell_now_and_then(progress(&told));
        let report = tokio::select! {
            report = backup::restore(target, &options, &tell) => report,
            () = teller.is_over() => return Err(given_up()),
        };
        let report = report.map_err(|error| answer::error(&error))?;
        let opened = task::spawn_blocking(move || AtRest::open(&options.into)).await;
        let at_rest = opened.map_err(failed)?.map_err(failed)?;
        let source = Source::Backup {
            at_rest,
            _scratch: scratch,
        };
        Ok((source, report.seq))
    }

    async fn scratch(&self) -> Result<Scratch, StoreError> {
        let place = asked::scratch(self.store().config());
        let scratch = task::spawn_blocking(move || Scratch::new(&place)).await;
        scratch
            .map_err(failed)?
            .map_err(|error| answer::error(&error))
    }

    /// Compares and writes, on a thread that may wait for files and for the writer.
    fn work(
        &self,
        backup: Option<(Source, u64)>,
        teller: Teller,
        handle: &Handle,
    ) -> Result<RestoreRecordsEnd, StoreError> {
        let (store, wanted) = (self.store(), &self.wanted);
        let (source, seq) = match backup {
            Some(found) => found,
            None => {
                let to = to(self.request.point.clone());
                let mut tell = |scanned: Scanned| {
                    teller.tell_now_and_then(reading(scanned));
                    teller.goes_on()
                };
                Source::log(store, wanted, &to, &mut tell)?
            }
        };
        let mut mark = || {
            // As it is now, for whoever regrets it.
            let what = wanted.text();
            let marked = store.mark_before(
                &wanted.names.namespace,
                "restore",
                &what,
                &self.request.actor,
            );
            drop(handle.block_on(marked));
            tracing::info!(
                records = what,
                seq,
                actor = self.request.actor,
                peer = self.peer,
                "records are brought back"
            );
        };
        let mut tell = |kind| match kind {
            Kind::Progress(progress) => {
                teller.tell_now_and_then(progress);
                match teller.goes_on() {
                    ControlFlow::Continue(()) => Ok(()),
                    ControlFlow::Break(()) => Err(given_up()),
                }
            }
            kind => handle.block_on(teller.tell(kind)),
        };
        let work = Work {
            store,
            wanted,
            actor: match self.request.actor.as_str() {
                "" => &self.peer,
                actor => actor,
            },
            is_rehearsal: self.request.dry_run,
            before_first: &mut mark,
            tell: &mut tell,
            end: RestoreRecordsEnd {
                seq,
                ..RestoreRecordsEnd::default()
            },
        };
        work.run(&source)
    }
}

fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError::new(Reason::Internal, error.to_string())
}

/// The error of a caller that is there and does not read.
fn unread() -> StoreError {
    let message = format!(
        "the restore was given up: its caller did not read for {} s what it was told; ask again, and write what it tells to \
         a file if it is to be looked at slowly",
        READ_WITHIN.as_secs()
    );
    StoreError::new(Reason::Unavailable, message)
}

/// Tells the caller.
struct Teller {
    store: Store,
    stopping: watch::Receiver<bool>,
    sender: mpsc::Sender<Answer>,
    last_told: Mutex<Option<Instant>>,
}

impl Teller {
    fn new(store: &Store, stopping: watch::Receiver<bool>, sender: mpsc::Sender<Answer>) -> Teller {
        Teller {
            store: store.clone(),
            stopping,
            sender,
            last_told: Mutex::default(),
        }
    }

    /// Tells how far it is. Who reads slowly is told less.
    fn tell_now_and_then(&self, progress: RestoreProgress) {
        let mut last_told = self.last_told.lock();
        if last_told.is_none_or(|last| last.elapsed() >= TELL_EVERY) {
            *last_told = Some(Instant::now());
            let told = message(&self.store, Kind::Progress(progress));
            drop(self.sender.try_send(Ok(told)));
        }
    }

    /// Tells what must not be missed. Waits for a slow reader, but not for ever: nothing else is done to backups meanwhile.
    async fn tell(&self, kind: Kind) -> Result<(), StoreError> {
        let told = Ok(message(&self.store, kind));
        tokio::select! {
            sent = self.sender.send_timeout(told, READ_WITHIN) => match sent {
                Ok(()) => Ok(()),
                Err(SendTimeoutError::Closed(_)) => Err(given_up()),
                Err(SendTimeoutError::Timeout(_)) => Err(unread()),
            },
            () = self.is_over() => Err(given_up()),
        }
    }

    /// Whether anybody waits for it.
    fn goes_on(&self) -> ControlFlow<()> {
        match self.sender.is_closed() || *self.stopping.borrow() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// Waits until nobody waits for it any more.
    async fn is_over(&self) {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            () = self.sender.closed() => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    }
}

fn message(store: &Store, kind: Kind) -> RestoreRecordsResponse {
    RestoreRecordsResponse {
        header: Some(store.header()),
        kind: Some(kind),
    }
}

/// How far reading the log is.
fn reading(scanned: Scanned) -> RestoreProgress {
    RestoreProgress {
        phase: RestorePhase::Log.into(),
        bytes: scanned.bytes,
        bytes_total: scanned.bytes_total,
        ..RestoreProgress::default()
    }
}

/// What came of it, for the audit.
fn outcome(end: &RestoreRecordsEnd) -> String {
    let mut text = format!("{} records, back to commit {}", end.changed, end.seq);
    if end.unreadable > 0 {
        text += &format!("; {} cannot be migrated, and stay", end.unreadable);
    }
    text
}

//! Doing one of the jobs.

use std::sync::Arc;

use super::{
    kept::{Kept, Outcome, set},
    live,
    plan::Job,
};
use crate::{
    backup::{
        self, BackupError, CreateOptions, Kind, Manifest, Progress, Target, Verify, VerifyReport,
    },
    config::Config,
    service::backup::{asked, turn::Backups},
};

/// Tells the time, in milliseconds since 1970.
pub type Clock = dyn Fn() -> u64 + Send + Sync;

/// Hears how far it is.
pub type Tell<'a> = dyn Fn(Progress) + Send + Sync + 'a;

/// What was done.
#[derive(Debug)]
enum Done {
    /// A backup was taken.
    Backup(Box<Manifest>),
    /// The newest backup is sound; what is to be said of it.
    Verified(Box<Manifest>, String),
    /// Old backups were removed; what is to be said of it.
    Expired(String),
}

/// Does a job, in the turn of the caller, and keeps what came of it. Gives what was done, for people.
pub async fn run(
    backups: &Arc<Backups>,
    job: Job,
    clock: &Clock,
    tell: &Tell<'_>,
) -> Result<String, BackupError> {
    let schedule = &backups.schedule;
    let config = backups.store.config();
    schedule.keep(|kept| kept.begin(job, clock())).await;
    tracing::info!(target = config.backup.target, "{} begins", job.words());
    let mut work = Work {
        backups,
        config,
        newest: schedule.kept().newest,
        gap: None,
        tell,
    };
    let done = work.run(job).await;
    let gap = work.gap;
    schedule
        .keep(|kept| keep(kept, job, &done, gap, clock()))
        .await;
    let told = done.map(|done| done.words());
    match &told {
        Ok(done) => tracing::info!("{done}"),
        Err(error) => tracing::error!(%error, "{} failed", job.words()),
    }
    told
}

/// What is kept of it.
fn keep(
    kept: &mut Kept,
    job: Job,
    done: &Result<Done, BackupError>,
    gap: Option<String>,
    now_ms: u64,
) {
    let error = done.as_ref().err().map(ToString::to_string);
    kept.end(job, error.as_deref());
    let unreachable = done.as_ref().err().filter(|error| is_of_target(error));
    let remedy =
        "See whether it is there and may be used: `stillpoint backup list --from` names it, too";
    let words = unreachable.map(|error| format!("{error}. {remedy}"));
    set(&mut kept.unreachable, words, now_ms);
    match done {
        Ok(Done::Backup(backup)) => {
            let target = kept.target.clone();
            kept.backed_up(Outcome::new(&target, backup, now_ms));
            // What was mended by this one is seen until the next is as it should be.
            set(&mut kept.gap, gap, now_ms);
            return;
        }
        Ok(Done::Verified(backup, _)) => {
            kept.last_verified = Some(Outcome::new(&kept.target, backup, now_ms));
            kept.verify_failed = None;
        }
        Err(error) if job == Job::Verify && unreachable.is_none() && kept.newest.is_some() => {
            let message = format!(
                "{error}. When that is put right, verify again with `stillpoint backup schedule --run verify`; a full backup \
                 that is taken now needs none of those before"
            );
            set(&mut kept.verify_failed, Some(message), now_ms);
        }
        Ok(Done::Expired(_)) | Err(_) => {}
    }
    if gap.is_some() {
        set(&mut kept.gap, gap, now_ms);
    }
}

/// Whether the target, not what is in it, is what failed.
fn is_of_target(error: &BackupError) -> bool {
    matches!(
        error,
        BackupError::Target { .. }
            | BackupError::Url { .. }
            | BackupError::Vacant { .. }
            | BackupError::ForeignStore { .. }
            | BackupError::LaterIncarnation { .. }
    )
}

impl Done {
    fn words(self) -> String {
        match self {
            Done::Backup(backup) => {
                let kind = match backup.kind {
                    Kind::Full => "full",
                    Kind::Incremental => "incremental",
                };
                format!("{kind} backup {} is complete", backup.id)
            }
            Done::Verified(_, words) | Done::Expired(words) => words,
        }
    }
}

/// A job under way.
struct Work<'a> {
    backups: &'a Arc<Backups>,
    config: &'a Config,
    /// The newest backup that was taken to the target.
    newest: Option<Outcome>,
    /// What the newest backups were found to lack.
    gap: Option<String>,
    tell: &'a Tell<'a>,
}

impl Work<'_> {
    async fn run(&mut self, job: Job) -> Result<Done, BackupError> {
        let target = asked::open(&self.config.backup, &self.config.backup.target, "")?;
        let source = self.backups.store.copy_source();
        let store_id = source.identity().store_id.to_string();
        if !target.is_of(&store_id).await? && self.newest.is_some() {
            return Err(BackupError::Vacant {
                target: target.url().into(),
            });
        }
        match job {
            Job::Full => {
                self.look_for_gaps(&target, "A full backup is taken now")
                    .await?;
                self.create(&target, false).await
            }
            Job::Incremental => self.incremental(&target).await,
            Job::Verify => {
                self.look_for_gaps(&target, "The next backup is a full one")
                    .await?;
                self.verify(&target).await
            }
            Job::Expire => self.expire(&target).await,
        }
    }

    /// Finds out whether the newest backups follow from each other; `remedy` is what becomes of it if not.
    async fn look_for_gaps(&mut self, target: &Target, remedy: &str) -> Result<(), BackupError> {
        let newest = self.newest.as_ref().map(|newest| newest.id.as_str());
        let mut gaps = backup::gaps(target, newest).await?.into_iter();
        if let Some(first) = gaps.next() {
            let more = match gaps.count() {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            let message = format!("{first}{more}. {remedy}");
            tracing::warn!("{message}");
            self.gap = Some(message);
        }
        Ok(())
    }

    /// An incremental backup; a full one, where there is nothing sound to continue.
    async fn incremental(&mut self, target: &Target) -> Result<Done, BackupError> {
        self.look_for_gaps(
            target,
            "A full backup was taken in place of an incremental one",
        )
        .await?;
        if self.gap.is_some() {
            return self.create(target, false).await;
        }
        let error = match self.create(target, true).await {
            Err(error @ (BackupError::NoParent { .. } | BackupError::OtherIncarnation { .. })) => {
                error
            }
            Err(error @ (BackupError::LogGone { .. } | BackupError::LogCut { .. })) => {
                self.gap = Some(format!(
                    "{error}. A full backup was taken in place of an incremental one; what was committed between the two \
                     backups cannot be gone back to"
                ));
                error
            }
            other => return other,
        };
        tracing::warn!(%error, "a full backup is taken in place of an incremental one");
        self.create(target, false).await
    }

    async fn create(&self, target: &Target, incremental: bool) -> Result<Done, BackupError> {
        let options = CreateOptions {
            incremental,
            label: String::new(),
            bytes_per_second: self.config.backup.bytes_per_second,
        };
        let backup = backup::create(&self.backups.store, target, &options, self.tell).await?;
        Ok(Done::Backup(Box::new(backup)))
    }

    /// Restores the newest backup for trial, and compares it with the live store.
    async fn verify(&self, target: &Target) -> Result<Done, BackupError> {
        let how = Verify::TrialRestore {
            scratch: asked::scratch(self.config),
            reserve_bytes: self.config.log.disk_reserve_bytes,
        };
        let report =
            backup::verify(target, stillpoint_proto::name::LATEST, &how, self.tell).await?;
        let compared = self.compare(&report).await?;
        let words = format!(
            "backup {} is sound: it was restored for trial{compared}",
            report.backup.id
        );
        Ok(Done::Verified(Box::new(report.backup), words))
    }

    /// Compares what was restored with the live store, if that still knows what it was like.
    async fn compare(&self, report: &VerifyReport) -> Result<&'static str, BackupError> {
        let store = &self.backups.store;
        let backup = &report.backup;
        if backup.incarnation != store.header().incarnation {
            return Ok(", and is of the store before it was restored");
        }
        let found = live::find(store, backup.last_seq).await?;
        match (&report.state_hash, found) {
            (Some(ours), Some(live)) if *ours != live => Err(BackupError::Differs {
                seq: backup.last_seq,
                detail: format!("its state hash is {ours}, that of the running store was {live}"),
            }),
            (Some(_), Some(_)) => Ok(", and is what the running store was then"),
            _ => Ok("; the log does not tell any more what the running store was then"),
        }
    }

    async fn expire(&self, target: &Target) -> Result<Done, BackupError> {
        let expired = backup::expire(target, &self.config.backup.keep(), false).await?;
        Ok(Done::Expired(format!(
            "{} backups and {} files of none were removed, {} MiB; {} backups are kept",
            expired.removed.len(),
            expired.leftovers.len(),
            expired.bytes >> 20,
            expired.kept.len()
        )))
    }
}

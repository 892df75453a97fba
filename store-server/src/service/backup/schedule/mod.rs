//! What the server does by itself: backups, their verification, the removal of old ones.
//!
//! # Idea
//!
//! Each job has a cron expression and a time that it is counted from: when it was last begun, or when its expression was new.
//! It is due when the first time after that has come. So what was missed while the server was down is done once when it is
//! back; what was missed while another job was under way is done once behind that; and nothing piles up. Both times, and what
//! came of each job, are kept over restarts.
//!
//! A job that fails waits for its next time. What is wrong is an alarm until the same thing has gone well.
//!
//! # Layout
//!
//! - `plan`: what is done when. `kept`: what came of it. `alarms`: what is wrong. None of them knows a clock.
//! - `job`: doing one of them. `asked`: because an operator asks for it. `live`: what the running store was like.

mod alarms;
mod asked;
mod job;
mod kept;
mod live;
mod plan;

use std::{convert::Infallible, path::Path, sync::Arc, time::Duration};

use stillpoint_proto::v1::{BackupStatus, ScheduledJob};
use tokio::task;

use self::{
    alarms::Logged,
    job::Clock,
    kept::{Keeper, Kept, Outcome},
    plan::{Job, Plan},
};
use super::turn::Backups;
use crate::{
    backup::{Manifest, Target},
    config::BackupConfig,
    store::server_time_ms,
};

pub use self::{asked::begin, live::state_hash};

/// How long the scheduler sleeps at most: the clock may be set meanwhile, and alarms come by themselves.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What is scheduled, and what came of it.
#[derive(Debug)]
pub struct Scheduler {
    config: BackupConfig,
    plan: Plan,
    keeper: Arc<Keeper>,
    logged: Logged,
}

impl Scheduler {
    /// As the settings say, with what is kept in the data directory.
    pub fn new(config: &BackupConfig, data_dir: &Path) -> Scheduler {
        let mut config = config.clone();
        // Under the name that backups have it, too.
        if let (false, Ok(target)) = (config.target.is_empty(), Target::open(&config.target)) {
            config.target = target.url().into();
        }
        Scheduler {
            plan: Plan::new(&config),
            keeper: Arc::new(Keeper::open(data_dir)),
            logged: Logged::default(),
            config,
        }
    }

    /// What is kept.
    fn kept(&self) -> Kept {
        self.keeper.get()
    }

    /// Changes what is kept, and brings it to its file.
    async fn keep(&self, change: impl FnOnce(&mut Kept)) {
        if self.keeper.change(change) {
            let keeper = self.keeper.clone();
            // A panic there is told by the runtime, and nothing waits for the file.
            drop(task::spawn_blocking(move || keeper.write()).await);
        }
    }

    /// Hears of a backup that was taken because somebody asked for it.
    pub async fn backed_up(&self, target: &Target, backup: &Manifest) {
        let outcome = Outcome::new(target.url(), backup, server_time_ms());
        self.keep(|kept| kept.backed_up(outcome)).await;
    }

    /// Follows the settings and the clock, and tells the log of alarms.
    async fn look(&self, now_ms: u64) -> Kept {
        self.keep(|kept| kept.follow(&self.config, &self.plan, now_ms))
            .await;
        let kept = self.kept();
        self.logged.tell(&alarms::alarms(&self.plan, &kept, now_ms));
        kept
    }
}

/// Does what is scheduled, when it is.
pub async fn run(backups: Arc<Backups>) -> Infallible {
    let jobs = async {
        loop {
            tick(&backups, &server_time_ms).await;
            let wake_ms = backups.schedule.plan.wake_ms(&backups.schedule.kept());
            let wait_ms = wake_ms.map(|wake_ms| wake_ms.saturating_sub(server_time_ms()));
            let wait = wait_ms.map_or(LOOK_EVERY, Duration::from_millis);
            tokio::time::sleep(wait.min(LOOK_EVERY)).await;
        }
    };
    // Also while a job takes its time.
    let alarms = async {
        loop {
            backups.schedule.look(server_time_ms()).await;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        never = jobs => never,
        never = alarms => never,
    }
}

/// Does what is due by this clock. For the scheduler itself, and for tests that do not wait.
pub async fn tick(backups: &Arc<Backups>, clock: &Clock) {
    let schedule = &backups.schedule;
    loop {
        let kept = schedule.look(clock()).await;
        let Some(job) = schedule.plan.due(&kept, clock()) else {
            return;
        };
        let _turn = backups
            .wait(job.words(), &schedule.config.target, "the schedule")
            .await;
        // Somebody else may have done it meanwhile.
        if schedule.plan.due(&schedule.kept(), clock()) != Some(job) {
            continue;
        }
        let mut stopping = backups.stopping.clone();
        tokio::select! {
            // Why it failed is logged and kept.
            done = job::run(backups, job, clock, &|_| {}) => drop(done),
            // What it gives is a lock.
            () = async { drop(stopping.wait_for(|stopping| *stopping).await) } => {
                tracing::warn!("{} was given up: the server stops; it is done at the next start", job.words());
                std::future::pending::<()>().await;
            }
        }
    }
}

/// How backups are.
pub fn status(backups: &Arc<Backups>) -> BackupStatus {
    status_at(backups, server_time_ms())
}

/// The same by another clock, for tests.
pub fn status_at(backups: &Arc<Backups>, now_ms: u64) -> BackupStatus {
    let schedule = &backups.schedule;
    let kept = schedule.kept();
    let jobs = Job::ALL.into_iter().filter_map(|job| {
        let next_ms = schedule.plan.next_ms(job, &kept);
        let of_job = kept.jobs.get(&job).cloned().unwrap_or_default();
        let is_known = next_ms.is_some() || of_job.last_ms > 0;
        is_known.then(|| ScheduledJob {
            job: job.to_proto().into(),
            schedule: job.text(&schedule.config).into(),
            next_ms: next_ms.unwrap_or(0),
            last_ms: of_job.last_ms,
            last_error: of_job.last_error,
        })
    });
    BackupStatus {
        target: schedule.config.target.clone(),
        jobs: jobs.collect(),
        last_backup: kept.last_backup.as_ref().map(Outcome::to_proto),
        last_verified: kept.last_verified.as_ref().map(Outcome::to_proto),
        alarms: alarms::alarms(&schedule.plan, &kept, now_ms),
        under_way: backups.under_way().unwrap_or_default(),
    }
}

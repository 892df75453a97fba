//! What is done by itself, and when. Knows no clock: the time is told to it.

use serde::{Deserialize, Serialize};
use stillpoint_proto::v1::BackupJob;

use super::kept::Kept;
use crate::config::{BackupConfig, cron::Schedule};

/// Something that is done by itself. Of those whose time has come, the first goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Job {
    /// A full backup.
    Full,
    /// An incremental one.
    Incremental,
    /// A trial restore of the newest, and a comparison with the live store.
    Verify,
    /// The removal of those that are not to be kept.
    Expire,
}

impl Job {
    /// All, in their order.
    pub const ALL: [Job; 4] = [Job::Full, Job::Incremental, Job::Verify, Job::Expire];

    /// Its expression in the settings; empty: it is not done.
    pub fn text(self, config: &BackupConfig) -> &str {
        match self {
            Job::Full => &config.full,
            Job::Incremental => &config.incremental,
            Job::Verify => &config.verify,
            Job::Expire => &config.expire,
        }
    }

    /// What it is, for people.
    pub fn words(self) -> &'static str {
        match self {
            Job::Full => "a full backup",
            Job::Incremental => "an incremental backup",
            Job::Verify => "a verification of backups",
            Job::Expire => "the removal of old backups",
        }
    }

    /// As it is told.
    pub fn to_proto(self) -> BackupJob {
        match self {
            Job::Full => BackupJob::Full,
            Job::Incremental => BackupJob::Incremental,
            Job::Verify => BackupJob::Verify,
            Job::Expire => BackupJob::Expire,
        }
    }

    /// The one that is asked for.
    pub fn from_proto(job: BackupJob) -> Option<Job> {
        Job::ALL.into_iter().find(|known| known.to_proto() == job)
    }

    fn is_backup(self) -> bool {
        matches!(self, Job::Full | Job::Incremental)
    }
}

/// What is scheduled.
#[derive(Clone, Debug)]
pub struct Plan(Vec<(Job, Schedule)>);

impl Plan {
    /// As the settings say.
    pub fn new(config: &BackupConfig) -> Plan {
        let scheduled = Job::ALL.into_iter().filter_map(|job| {
            // An expression that means nothing was refused when the server began.
            let schedule = Schedule::parse(job.text(config)).ok()?;
            Some((job, schedule))
        });
        Plan(scheduled.collect())
    }

    /// What is scheduled, in its order.
    pub fn jobs(&self) -> impl Iterator<Item = Job> {
        self.0.iter().map(|(job, _)| *job)
    }

    /// When a job is done next, in milliseconds since 1970; may be past.
    pub fn next_ms(&self, job: Job, kept: &Kept) -> Option<u64> {
        let (_, schedule) = self.0.iter().find(|(planned, _)| *planned == job)?;
        schedule.after(kept.counted_from_ms(job))
    }

    /// The job whose time has come and that was not done for longest: one that takes longer than its period must not keep the
    /// others from being done.
    pub fn due(&self, kept: &Kept, now_ms: u64) -> Option<Job> {
        let is_due = |job: &Job| self.next_ms(*job, kept).is_some_and(|next| next <= now_ms);
        let last_ms = |job: &Job| kept.jobs.get(job).map_or(0, |kept| kept.last_ms);
        self.jobs().filter(is_due).min_by_key(last_ms)
    }

    /// When something is done next, in milliseconds since 1970.
    pub fn wake_ms(&self, kept: &Kept) -> Option<u64> {
        self.jobs().filter_map(|job| self.next_ms(job, kept)).min()
    }

    /// When two periods are over without a backup since this time, in milliseconds since 1970: both times that one was to
    /// be taken have come.
    pub fn overdue_ms(&self, since_ms: u64) -> Option<u64> {
        let backups = || self.0.iter().filter(|(job, _)| job.is_backup());
        let next = |after: u64| backups().filter_map(|(_, s)| s.after(after)).min();
        next(next(since_ms)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: u64 = 60_000;

    #[test]
    fn an_incremental_that_is_always_due_does_not_keep_the_others_from_being_done() {
        let config = BackupConfig {
            full: "0 0 * * *".into(),
            incremental: "* * * * *".into(),
            verify: "30 * * * *".into(),
            expire: "45 * * * *".into(),
            ..BackupConfig::default()
        };
        let plan = Plan::new(&config);
        let mut kept = Kept::default();
        let mut now_ms = 1_800_000_000_000;
        kept.follow(&config, &plan, now_ms);
        let mut done = Vec::new();
        for _ in 0..24 * 60 {
            if let Some(job) = plan.due(&kept, now_ms) {
                kept.begin(job, now_ms);
                // As an incremental that takes longer than the minute that it has.
                now_ms += 2 * MINUTE_MS;
                kept.end(job, None);
                done.push(job);
            } else {
                now_ms += MINUTE_MS;
            }
        }
        let times = |wanted| done.iter().filter(|job| **job == wanted).count();
        assert!(times(Job::Verify) >= 24, "{}", times(Job::Verify));
        assert!(times(Job::Expire) >= 24, "{}", times(Job::Expire));
        assert!(times(Job::Full) >= 1);
        assert!(times(Job::Incremental) > 1000);
    }
}

//! What came of what the server does by itself, and of backups that were asked for: kept over restarts.
//!
//! It is in `backup-status.json` in the data directory, which is no part of the store's state: it is in no backup, and
//! without it the server begins to count anew. It is written as a whole, beside the old one, whenever something has ended.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use stillpoint_proto::v1::{BackupKind, BackupOutcome};

use super::plan::{Job, Plan};
use crate::{
    backup::{Kind, Manifest},
    config::BackupConfig,
    log::segment,
};

/// The file's name in the data directory.
pub const FILE: &str = "backup-status.json";

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// The target that scheduled backups go to.
    pub target: String,
    /// When backups are taken, as the settings said it last ...
    pub planned: Vec<String>,
    /// ... and since when they say so, in milliseconds since 1970.
    pub planned_since_ms: u64,
    /// What is scheduled.
    pub jobs: BTreeMap<Job, KeptJob>,
    /// The newest backup, wherever it is.
    pub last_backup: Option<Outcome>,
    /// The newest backup in the target of scheduled ones.
    pub newest: Option<Outcome>,
    /// The newest backup that was found sound.
    pub last_verified: Option<Outcome>,
    /// Why the newest backup was found unsound, or could not be verified.
    pub verify_failed: Option<Trouble>,
    /// Why the target could not be used the last time.
    pub unreachable: Option<Trouble>,
    /// What the newest backups lacked.
    pub gap: Option<Trouble>,
}

/// A job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeptJob {
    /// When it is done, as the settings said it last.
    pub schedule: String,
    /// It is done at the first time after this one, in milliseconds since 1970.
    pub counted_from_ms: u64,
    /// When it was last begun, in milliseconds since 1970; 0: never.
    pub last_ms: u64,
    /// What was wrong then; empty: nothing.
    pub last_error: String,
    /// It has not ended; in the file: it was cut off.
    pub is_under_way: bool,
}

/// A backup, and when something was done with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Where it is.
    pub target: String,
    /// Its name.
    pub id: String,
    /// Whether it stands alone.
    pub kind: Kind,
    /// When it was done, in milliseconds since 1970.
    pub time_ms: u64,
    /// The newest commit in it.
    pub last_seq: u64,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trouble {
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// What, for people.
    pub message: String,
}

impl Outcome {
    /// Of a backup, now.
    pub fn new(target: &str, backup: &Manifest, now_ms: u64) -> Outcome {
        Outcome {
            target: target.into(),
            id: backup.id.clone(),
            kind: backup.kind,
            time_ms: now_ms,
            last_seq: backup.last_seq,
        }
    }

    /// As it is told.
    pub fn to_proto(&self) -> BackupOutcome {
        let kind = match self.kind {
            Kind::Full => BackupKind::Full,
            Kind::Incremental => BackupKind::Incremental,
        };
        BackupOutcome {
            target: self.target.clone(),
            id: self.id.clone(),
            kind: kind.into(),
            time_ms: self.time_ms,
            last_seq: self.last_seq,
        }
    }
}

impl Kept {
    /// Follows the settings, and a clock that was set back.
    pub fn follow(&mut self, config: &BackupConfig, plan: &Plan, now_ms: u64) {
        if self.target != config.target {
            // What was wrong with the old one is no matter any more.
            *self = Kept {
                target: config.target.clone(),
                last_backup: self.last_backup.take(),
                last_verified: self.last_verified.take(),
                ..Kept::default()
            };
        }
        let planned = vec![config.full.clone(), config.incremental.clone()];
        if self.planned != planned {
            self.planned = planned;
            self.planned_since_ms = now_ms;
        }
        self.planned_since_ms = self.planned_since_ms.min(now_ms);
        for job in plan.jobs() {
            let schedule = job.text(config);
            let kept = self.jobs.entry(job).or_default();
            if kept.schedule != schedule {
                kept.schedule = schedule.into();
                kept.counted_from_ms = now_ms;
            }
            kept.counted_from_ms = kept.counted_from_ms.min(now_ms);
        }
    }

    /// A job is done at the first time after this one, in milliseconds since 1970.
    pub fn counted_from_ms(&self, job: Job) -> u64 {
        self.jobs.get(&job).map_or(0, |kept| kept.counted_from_ms)
    }

    /// A job begins. It counts as done when it has ended, so one that is cut off is done again.
    pub fn begin(&mut self, job: Job, now_ms: u64) {
        let kept = self.jobs.entry(job).or_default();
        kept.last_ms = now_ms;
        kept.last_error = String::new();
        kept.is_under_way = true;
    }

    /// A job has ended: well, or not.
    pub fn end(&mut self, job: Job, error: Option<&str>) {
        let kept = self.jobs.entry(job).or_default();
        kept.counted_from_ms = kept.last_ms;
        kept.last_error = error.unwrap_or_default().into();
        kept.is_under_way = false;
        let begun_ms = kept.last_ms;
        // It has all that an incremental one would have had.
        if job == Job::Full
            && error.is_none()
            && let Some(incremental) = self.jobs.get_mut(&Job::Incremental)
        {
            incremental.counted_from_ms = incremental.counted_from_ms.max(begun_ms);
        }
    }

    /// What is under way was given up before its end.
    pub fn give_up(&mut self, why: &str) {
        for kept in self.jobs.values_mut().filter(|kept| kept.is_under_way) {
            kept.last_error = why.into();
            kept.is_under_way = false;
        }
    }

    /// A backup was taken.
    pub fn backed_up(&mut self, outcome: Outcome) {
        if outcome.target == self.target {
            self.newest = Some(outcome.clone());
            self.unreachable = None;
        }
        self.last_backup = Some(outcome);
    }
}

/// Sets or clears a trouble; it is as old as it is in a row.
pub fn set(trouble: &mut Option<Trouble>, message: Option<String>, now_ms: u64) {
    let since_ms = trouble.as_ref().map_or(now_ms, |trouble| trouble.since_ms);
    *trouble = message.map(|message| Trouble { since_ms, message });
}

/// What is kept, in memory and in its file.
#[derive(Debug)]
pub struct Keeper {
    path: PathBuf,
    kept: Mutex<Kept>,
    /// Held while the file is written.
    writing: Mutex<()>,
}

impl Keeper {
    /// What the file in this directory says. One that is not there or cannot be read says nothing.
    pub fn open(data_dir: &Path) -> Keeper {
        let path = data_dir.join(FILE);
        let mut kept = read(&path).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "what is known of backups cannot be read, and begins anew");
            Kept::default()
        });
        kept.give_up("it was cut off by the end of the server");
        Keeper {
            path,
            kept: Mutex::new(kept),
            writing: Mutex::default(),
        }
    }

    /// What is kept, as it is now.
    pub fn get(&self) -> Kept {
        self.kept.lock().clone()
    }

    /// Changes it in memory; whether that changed anything.
    pub fn change(&self, change: impl FnOnce(&mut Kept)) -> bool {
        let mut kept = self.kept.lock();
        let before = kept.clone();
        change(&mut kept);
        *kept != before
    }

    /// Brings it to its file. Waits for the disk.
    pub fn write(&self) {
        let _one_at_a_time = self.writing.lock();
        let kept = self.get();
        let written = serde_json::to_vec_pretty(&kept)
            .map_err(io::Error::from)
            .and_then(|text| segment::create(&self.path, &text));
        if let Err(error) = written {
            tracing::warn!(path = %self.path.display(), %error, "what is known of backups cannot be kept");
        }
    }
}

fn read(path: &Path) -> io::Result<Kept> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map_err(io::Error::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Kept::default()),
        Err(error) => Err(error),
    }
}

//! Backups that the server takes, verifies and removes by itself.

use std::{fs::File, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::cron::Schedule;
use crate::backup::{Keep, Target};

/// Backups that the server takes, verifies and removes by itself. Times are cron expressions of five fields, in UTC; an
/// empty one is never.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackupConfig {
    /// Where they go: an absolute path, or a URL such as `s3://bucket/prefix`. Empty: there are none. Default: empty.
    pub target: String,
    /// A file with the key that they are encrypted with, 64 hexadecimal digits. Default: none, not encrypted.
    pub key_file: Option<PathBuf>,
    /// Read at most so many bytes a second for one; 0: as fast as it goes. Default: 64 MiB.
    pub bytes_per_second: u64,
    /// When a full one is taken. Default: never.
    pub full: String,
    /// When an incremental one is taken. Default: never.
    pub incremental: String,
    /// When the newest is restored for trial. Default: never.
    pub verify: String,
    /// When those that are not to be kept are removed. Default: never.
    pub expire: String,
    /// Then keep the newest of each of so many hours ... Default: 24.
    pub keep_hourly: u32,
    /// ... days ... Default: 7.
    pub keep_daily: u32,
    /// ... weeks ... Default: 4.
    pub keep_weekly: u32,
    /// ... and months. Default: 12.
    pub keep_monthly: u32,
    /// Where trial restores have room for a copy of the store. Default: a directory beside the data directory.
    pub scratch: Option<PathBuf>,
}

impl Default for BackupConfig {
    fn default() -> Self {
        BackupConfig {
            target: String::new(),
            key_file: None,
            bytes_per_second: 64 << 20,
            full: String::new(),
            incremental: String::new(),
            verify: String::new(),
            expire: String::new(),
            keep_hourly: 24,
            keep_daily: 7,
            keep_weekly: 4,
            keep_monthly: 12,
            scratch: None,
        }
    }
}

impl BackupConfig {
    /// How many are kept.
    pub fn keep(&self) -> Keep {
        Keep {
            hourly: self.keep_hourly,
            daily: self.keep_daily,
            weekly: self.keep_weekly,
            monthly: self.keep_monthly,
        }
    }

    /// Refuses what cannot work; the message names the setting and the remedy.
    pub(super) fn check(&self) -> Result<(), String> {
        for (name, text) in [
            ("backup.full", &self.full),
            ("backup.incremental", &self.incremental),
            ("backup.verify", &self.verify),
            ("backup.expire", &self.expire),
        ] {
            if text.is_empty() {
                continue;
            }
            Schedule::parse(text).map_err(|error| {
                format!(
                    "{name} is {text:?}, which is no cron expression: {error}. Write minute, hour, day of the month, month \
                     and day of the week, in UTC, e.g. \"30 3 * * *\" for each day at 3:30"
                )
            })?;
            if self.target.is_empty() {
                return Err(format!(
                    "{name} is set, but backup.target is not: say where the backups are"
                ));
            }
        }
        if !self.target.is_empty() {
            Target::open(&self.target).map_err(|error| format!("backup.target: {error}"))?;
        }
        if let Some(path) = &self.key_file {
            File::open(path).map_err(|error| {
                format!("backup.key_file: cannot read {}: {error}", path.display())
            })?;
        }
        if !self.expire.is_empty() && self.keep() == Keep::default() {
            return Err(
                "backup.keep_hourly, keep_daily, keep_weekly and keep_monthly are all 0, so backup.expire would remove all \
                 backups but the newest: set one of them"
                    .into(),
            );
        }
        Ok(())
    }
}

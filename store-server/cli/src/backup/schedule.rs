//! What the server does by itself with backups, and what is wrong, as people and programs see it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use comfy_table::Table;
use rmpv::Value;
use stillpoint_proto::v1::{
    Alarm, BackupJob, BackupKind, BackupOutcome, BackupStatus, ScheduledJob,
};

use crate::{
    management::words::{moment, time},
    output::plain_table,
    record::object,
};

/// A job's name: `incremental`.
pub fn job_word(job: BackupJob) -> &'static str {
    match job {
        BackupJob::Full => "full",
        BackupJob::Incremental => "incremental",
        BackupJob::Verify => "verify",
        BackupJob::Expire => "expire",
        BackupJob::Unspecified => "unknown",
    }
}

/// The alarms, a line each; nothing where there is none.
pub fn alarm_lines(alarms: &[Alarm]) -> String {
    let lines = alarms.iter().map(|alarm| {
        let Alarm {
            name,
            message,
            since_ms,
        } = alarm;
        format!("ALARM {name}, since {}: {message}\n", moment(*since_ms))
    });
    lines.collect()
}

/// How backups are, in a few lines for the status of the store; nothing where none were taken and none are scheduled.
pub fn rows(status: &BackupStatus) -> Vec<(&'static str, String)> {
    let now_ms = now_ms();
    let backup = |outcome: &BackupOutcome| {
        format!(
            "{}, {}, {} in {}",
            outcome.id,
            ago(outcome.time_ms, now_ms),
            kind_word(outcome.kind()),
            outcome.target
        )
    };
    let next = (status.jobs.iter())
        .filter(|job| job.next_ms > 0)
        .min_by_key(|job| job.next_ms);
    let nothing = || "none".to_owned();
    let mut rows = Vec::new();
    if status.last_backup.is_some() || !status.target.is_empty() {
        let last = status.last_backup.as_ref();
        rows.push(("last backup", last.map_or_else(nothing, backup)));
        let verified = status.last_verified.as_ref();
        rows.push(("last verified", verified.map_or_else(nothing, backup)));
    }
    if let Some(next) = next {
        let (job, when) = (job_word(next.job()), ahead(next.next_ms, now_ms));
        rows.push(("next for backups", format!("{job} {when}")));
    }
    if !status.under_way.is_empty() {
        rows.push(("under way", status.under_way.clone()));
    }
    rows
}

/// The jobs, a line each.
pub fn job_table(jobs: &[ScheduledJob]) -> Table {
    let now_ms = now_ms();
    let mut table = plain_table();
    table.set_header(["JOB", "WHEN (UTC)", "NEXT", "LAST", "OUTCOME"]);
    for job in jobs {
        let never = || "never".to_owned();
        let next = match job.next_ms {
            0 => never(),
            next => format!("{}, {}", moment(next), ahead(next, now_ms)),
        };
        let (last, outcome) = match (job.last_ms, job.last_error.as_str()) {
            (0, _) => (never(), String::new()),
            (last, "") => (ago(last, now_ms), "well".to_owned()),
            (last, error) => (ago(last, now_ms), format!("FAILED: {error}")),
        };
        let schedule = match job.schedule.as_str() {
            "" => "not scheduled",
            schedule => schedule,
        };
        table.add_row([
            job_word(job.job()).to_owned(),
            schedule.to_owned(),
            next,
            last,
            outcome,
        ]);
    }
    table
}

/// All of it for programs: the fields of the contract, by their names.
pub fn to_value(status: &BackupStatus) -> Value {
    let jobs = status.jobs.iter().map(|job| {
        object([
            ("job", job_word(job.job()).into()),
            ("schedule", job.schedule.as_str().into()),
            ("next_ms", job.next_ms.into()),
            ("last_ms", job.last_ms.into()),
            ("last_error", job.last_error.as_str().into()),
        ])
    });
    let alarms = status.alarms.iter().map(|alarm| {
        object([
            ("name", alarm.name.as_str().into()),
            ("message", alarm.message.as_str().into()),
            ("since_ms", alarm.since_ms.into()),
        ])
    });
    let outcome = |outcome: &Option<BackupOutcome>| match outcome {
        None => Value::Nil,
        Some(outcome) => object([
            ("target", outcome.target.as_str().into()),
            ("id", outcome.id.as_str().into()),
            ("kind", kind_word(outcome.kind()).into()),
            ("time_ms", outcome.time_ms.into()),
            ("last_seq", outcome.last_seq.into()),
        ]),
    };
    object([
        ("target", status.target.as_str().into()),
        ("jobs", Value::Array(jobs.collect())),
        ("last_backup", outcome(&status.last_backup)),
        ("last_verified", outcome(&status.last_verified)),
        ("alarms", Value::Array(alarms.collect())),
        ("under_way", status.under_way.as_str().into()),
    ])
}

fn kind_word(kind: BackupKind) -> &'static str {
    match kind {
        BackupKind::Incremental => "incremental",
        BackupKind::Full | BackupKind::Unspecified => "full",
    }
}

/// A time before now, for people.
fn ago(ms: u64, now_ms: u64) -> String {
    format!("{} ago", seconds(now_ms.saturating_sub(ms)))
}

/// A time after now, for people.
fn ahead(ms: u64, now_ms: u64) -> String {
    match ms.saturating_sub(now_ms) {
        0 => "now".into(),
        left => format!("in {}", seconds(left)),
    }
}

/// A span for people, without more than they want to know.
fn seconds(ms: u64) -> String {
    match ms / 1000 {
        0 => "less than 1s".into(),
        s @ 1..3600 => time(s * 1000),
        s => time(s / 60 * 60_000),
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since: Duration = since.unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}

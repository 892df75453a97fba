//! A migration as people and programs see it.

use rmpv::Value;
use stillpoint_migrations::source::file_name;
use stillpoint_proto::v1::{MigrationPhase, MigrationScript, MigrationStatus};

use super::collection::name;
use crate::record::object;

/// The collection of a status, for people.
pub fn name_of(status: &MigrationStatus) -> String {
    status.collection.as_ref().map(name).unwrap_or_default()
}

/// What its job does: one word.
pub fn phase_word(phase: MigrationPhase) -> &'static str {
    match phase {
        MigrationPhase::Unspecified => "none",
        MigrationPhase::Rewriting => "rewriting",
        MigrationPhase::Paused => "paused",
        MigrationPhase::Stopped => "stopped",
        MigrationPhase::Rewritten => "rewritten",
        MigrationPhase::Finished => "finished",
    }
}

/// How a migration is going, in a line.
pub fn status_line(status: &MigrationStatus) -> String {
    let seen = match (status.phase(), status.seen) {
        (MigrationPhase::Rewriting | MigrationPhase::Paused | MigrationPhase::Stopped, seen) => {
            format!("{seen} of about {}", records(status.total.max(seen)))
        }
        (_, seen) => records(seen),
    };
    let mut line = format!(
        "{}: version {}, {}: {seen} seen, {} rewritten, {} failed",
        name_of(status),
        status.version,
        phase_word(status.phase()),
        status.rewritten,
        status.failed
    );
    if !status.stopped_why.is_empty() {
        line += &format!(" ({})", status.stopped_why);
    }
    line
}

/// The version that a collection has come to, in a line.
pub fn applied_line(status: &MigrationStatus) -> String {
    let mut line = format!(
        "{} is at version {}, it was at {}",
        name_of(status),
        status.version,
        status.from_version
    );
    if !status.label.is_empty() {
        line += &format!("; the moment before is labelled {}", status.label);
    }
    line
}

/// How a migration is going, for programs.
pub fn status_value(status: &MigrationStatus) -> Value {
    let collection = status.collection.clone().unwrap_or_default();
    object([
        ("namespace", collection.namespace.as_str().into()),
        ("collection", collection.collection.as_str().into()),
        ("version", status.version.into()),
        ("from_version", status.from_version.into()),
        ("newest_published", status.newest_published.into()),
        ("phase", phase_word(status.phase()).into()),
        ("seen", status.seen.into()),
        ("total", status.total.into()),
        ("rewritten", status.rewritten.into()),
        ("failed", status.failed.into()),
        ("failed_max", status.failed_max.into()),
        ("rate", status.rate.into()),
        ("applied_ms", status.applied_ms.into()),
        ("actor", status.actor.as_str().into()),
        ("label", status.label.as_str().into()),
        ("other_sessions", texts(&status.other_sessions)),
        ("stopped_why", status.stopped_why.as_str().into()),
    ])
}

/// Where a script's file is, below the folder of all.
pub fn script_path(script: &MigrationScript) -> String {
    format!(
        "{}/{}/{}",
        script.namespace,
        script.collection,
        file_name(script.number, &script.name)
    )
}

/// Texts for programs.
pub fn texts(texts: &[String]) -> Value {
    Value::Array(texts.iter().map(|text| text.as_str().into()).collect())
}

/// A number of records: `1 record`.
pub fn records(count: u64) -> String {
    match count {
        1 => "1 record".into(),
        count => format!("{count} records"),
    }
}

/// A number of sessions: `1 session`.
pub fn sessions(count: usize) -> String {
    match count {
        1 => "1 session".into(),
        count => format!("{count} sessions"),
    }
}

#[cfg(test)]
mod tests {
    use stillpoint_proto::v1::CollectionName;

    use super::*;

    fn status(phase: MigrationPhase) -> MigrationStatus {
        MigrationStatus {
            collection: Some(CollectionName {
                namespace: "game".into(),
                collection: "player".into(),
            }),
            version: 3,
            from_version: 2,
            phase: phase.into(),
            seen: 12,
            total: 10,
            rewritten: 11,
            failed: 1,
            ..MigrationStatus::default()
        }
    }

    #[test]
    fn a_job_under_way_says_how_much_there_is() {
        let mut status = status(MigrationPhase::Stopped);
        status.stopped_why = "too many failed".into();
        assert_eq!(
            status_line(&status),
            "game/player: version 3, stopped: 12 of about 12 records seen, 11 rewritten, 1 failed (too many failed)"
        );
    }

    #[test]
    fn a_job_that_is_through_says_what_it_did() {
        let status = status(MigrationPhase::Rewritten);
        assert_eq!(
            status_line(&status),
            "game/player: version 3, rewritten: 12 records seen, 11 rewritten, 1 failed"
        );
        assert_eq!(
            applied_line(&status),
            "game/player is at version 3, it was at 2"
        );
    }
}

//! What is told of a backup.

use stillpoint_proto::v1::{
    BackupKind, BackupNamespace, BackupPhase, BackupProgress, BackupSummary, Reason, StoreError,
    create_backup_response::Kind,
};

use crate::backup::{self, BackupError, Manifest, Phase, Progress};

/// How far it is.
pub fn progress(progress: &Progress) -> Kind {
    Kind::Progress(backup_progress(progress))
}

/// The same by itself.
pub fn backup_progress(progress: &Progress) -> BackupProgress {
    let phase = match progress.phase {
        Phase::Records => BackupPhase::Records,
        Phase::Log => BackupPhase::Log,
        Phase::Checking | Phase::Finishing => BackupPhase::Finishing,
    };
    BackupProgress {
        phase: phase.into(),
        records: progress.records,
        records_total: progress.records_total,
        bytes: progress.bytes,
        stored_bytes: progress.stored_bytes,
        bytes_total: progress.bytes_total,
    }
}

/// A backup that is complete.
pub fn summary(manifest: &Manifest) -> BackupSummary {
    let kind = match manifest.kind {
        backup::Kind::Full => BackupKind::Full,
        backup::Kind::Incremental => BackupKind::Incremental,
    };
    let namespaces = manifest.namespaces.iter();
    BackupSummary {
        id: manifest.id.clone(),
        kind: kind.into(),
        parent_id: manifest.parent.clone(),
        label: manifest.label.clone(),
        begun_ms: manifest.begun_ms,
        ended_ms: manifest.ended_ms,
        last_seq: manifest.last_seq,
        last_time_ms: manifest.last_time_ms,
        namespaces: namespaces
            .map(|(name, state)| BackupNamespace {
                namespace: name.clone(),
                revision: state.revision,
                records: state.records,
            })
            .collect(),
        records: manifest.records,
        state_hash: manifest.state_hash.clone().unwrap_or_default(),
        files: manifest.files.len() as u64,
        stored_bytes: manifest.stored_bytes(),
        raw_bytes: manifest.raw_bytes(),
    }
}

/// Why there is none, as its caller needs it: whether to change the request, to wait, or to look into it.
pub fn error(error: &BackupError) -> StoreError {
    let reason = match error {
        BackupError::Url { .. }
        | BackupError::ForeignStore { .. }
        | BackupError::TooNew { .. }
        | BackupError::NoParent { .. }
        | BackupError::KeyFile { .. }
        | BackupError::Key { .. }
        | BackupError::Into { .. } => Reason::Invalid,
        BackupError::NoBackup { .. } | BackupError::NotCovered { .. } => Reason::NotFound,
        BackupError::LogGone { .. } | BackupError::LogCut { .. } | BackupError::NotThere { .. } => {
            Reason::Compacted
        }
        BackupError::OtherIncarnation { .. } => Reason::WrongIncarnation,
        BackupError::Exists { .. } => Reason::RateLimited,
        _ => Reason::Internal,
    };
    StoreError::new(reason, error.to_string())
}

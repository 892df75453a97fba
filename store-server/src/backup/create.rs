//! Taking a backup of a running store.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use tokio::{sync::mpsc, task, time::Instant};

use super::{
    BackupError, FileKind, Kind, Manifest, Phase, Progress, Target,
    catalog::{self, list},
    manifest::FORMAT,
    portion::Portion,
    reading::{Reached, Reading},
};
use crate::{
    log::{Entry, reader::ReadError},
    store::{CopySource, Store, server_time_ms, state_hash::StateHash},
};

/// What kind of backup.
#[derive(Clone, Debug, Default)]
pub struct CreateOptions {
    /// Only what was committed since the newest backup.
    pub incremental: bool,
    /// What the operator calls it; empty for nothing.
    pub label: String,
    /// Most bytes of records and log to read per second; 0: no limit.
    pub bytes_per_second: u64,
}

/// Portions that wait to be stored while the next is read.
const PORTIONS_WAITING: usize = 1;

/// Takes a backup. Commits go on meanwhile and do not wait for it. If it fails or is dropped, files without a manifest may
/// stay in the target, which [`expire`](super::expire()) removes later.
pub async fn create(
    store: &Store,
    target: &Target,
    options: &CreateOptions,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Manifest, BackupError> {
    let source = store.copy_source();
    let identity = source.identity().clone();
    let store_id = identity.store_id.to_string();
    target.claim(&store_id).await?;
    let begun_ms = server_time_ms();
    let (from, parent, applied) = match options.incremental {
        true => {
            let parent = find_parent(&source, target).await?;
            (Reached::end_of(&parent), parent.id, String::new())
        }
        false => {
            let failed = |e: crate::engine::EngineError| BackupError::Store(e.to_string());
            let applied = source.applied().map_err(failed)?;
            let encoded = BASE64.encode(applied.encode());
            (Reached::applied(&applied), String::new(), encoded)
        }
    };
    let base_seq = from.seq;
    let mut writing = Writing {
        target,
        id: id(begun_ms, source.last_seq()),
        files: Vec::new(),
        bytes_per_second: options.bytes_per_second,
        begun: Instant::now(),
        progress: Progress {
            phase: Phase::Records,
            records: 0,
            records_total: source.records_total(),
            bytes: 0,
            bytes_total: 0,
            stored_bytes: 0,
        },
    };
    let (portions, mut read) = mpsc::channel(PORTIONS_WAITING);
    let reading = Reading {
        source,
        portions,
        with_records: !options.incremental,
        from,
    };
    let reading = task::spawn_blocking(move || reading.run());
    while let Some(portion) = read.recv().await {
        progress(writing.store(portion).await?);
    }
    let end = reading
        .await
        .map_err(|e| BackupError::Store(e.to_string()))??;
    let manifest = Manifest {
        format: FORMAT,
        id: writing.id,
        kind: match options.incremental {
            true => Kind::Incremental,
            false => Kind::Full,
        },
        parent,
        store_id,
        incarnation: identity.incarnation,
        server_version: env!("CARGO_PKG_VERSION").into(),
        label: options.label.clone(),
        begun_ms,
        ended_ms: server_time_ms(),
        as_of_ms: end.as_of_ms,
        base_seq,
        last_seq: end.seq,
        last_time_ms: match end.time_ms {
            0 => end.as_of_ms,
            time_ms => time_ms,
        },
        records: end.namespaces.values().map(|ns| ns.records).sum(),
        namespaces: end.namespaces,
        state_hash: end.state_hash,
        applied,
        marks: end.marks,
        files: writing.files,
    };
    catalog::write(target, &manifest).await?;
    Ok(manifest)
}

/// The backup's name: names are in the order of time, and no two backups of a store are begun within one millisecond.
fn id(begun_ms: u64, seq: u64) -> String {
    format!("{}-{seq}", catalog::time(begun_ms).replace(['-', ':'], ""))
}

/// The backup to continue: the newest one, if the log goes on from there.
async fn find_parent(source: &CopySource, target: &Target) -> Result<Manifest, BackupError> {
    let no_parent = |why: String| BackupError::NoParent { why };
    let mut listing = list(target).await?;
    let parent = listing
        .backups
        .pop()
        .ok_or_else(|| no_parent(format!("{} has no backup to continue", target.url())))?;
    let incarnation = source.identity().incarnation;
    if parent.incarnation != incarnation {
        return Err(no_parent(format!(
            "the store is incarnation {incarnation}, and backup {} is of incarnation {}",
            parent.id, parent.incarnation
        )));
    }
    let another = || {
        no_parent(format!(
            "backup {} is not of this store's history: a copy of the store made it",
            parent.id
        ))
    };
    if parent.last_seq > source.last_seq() {
        return Err(another());
    }
    if let (Some(ours), Some(theirs)) = (hash_at(source, parent.last_seq)?, &parent.state_hash)
        && ours != *theirs
    {
        return Err(another());
    }
    let next = source.read_log(parent.last_seq, source.last_seq(), |_, _| {
        std::ops::ControlFlow::Break(())
    });
    match next {
        Err(ReadError::Removed { first_seq }) => Err(BackupError::LogGone {
            parent: parent.id,
            last_seq: parent.last_seq,
            first_seq,
        }),
        Err(error) => Err(BackupError::Store(error.to_string())),
        Ok(()) => Ok(parent),
    }
}

/// The state hash after a commit, if the log still has it.
fn hash_at(source: &CopySource, seq: u64) -> Result<Option<String>, BackupError> {
    let mut found = None;
    let read = source.read_log(seq.saturating_sub(1), seq, |_, bytes| {
        found = Entry::decode(bytes)
            .ok()
            .and_then(|entry| StateHash::from_bytes(entry.state_hash));
        std::ops::ControlFlow::Break(())
    });
    match read {
        Ok(()) | Err(ReadError::Removed { .. }) => Ok(found.map(|hash| hash.to_string())),
        Err(error) => Err(BackupError::Store(error.to_string())),
    }
}

/// The writing side of a backup.
struct Writing<'a> {
    target: &'a Target,
    id: String,
    files: Vec<super::File>,
    bytes_per_second: u64,
    begun: Instant,
    progress: Progress,
}

impl Writing<'_> {
    /// Stores a portion, not sooner than the rate allows.
    async fn store(&mut self, portion: Portion) -> Result<Progress, BackupError> {
        let Portion { mut file, bytes } = portion;
        let of_kind = self.files.iter().filter(|f| f.kind == file.kind).count();
        let name = match file.kind {
            FileKind::Records => "records",
            FileKind::Log => "log",
        };
        file.path = format!("data/{}/{name}-{of_kind:06}.zst", self.id);
        self.target.put_new(&file.path, bytes).await?;
        self.progress.bytes += file.raw_bytes;
        self.progress.stored_bytes += file.bytes;
        match file.kind {
            FileKind::Records => self.progress.records += file.entries,
            FileKind::Log => self.progress.phase = Phase::Log,
        }
        self.files.push(file);
        if let Some(nanos_per_byte) = 1_000_000_000_u64.checked_div(self.bytes_per_second) {
            let due = Duration::from_nanos(nanos_per_byte.saturating_mul(self.progress.bytes));
            tokio::time::sleep_until(self.begun + due).await;
        }
        Ok(self.progress)
    }
}

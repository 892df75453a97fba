//! Taking a backup of a running store.

use bytes::Bytes;
use tokio::{sync::mpsc, task};

use super::{
    BackupError, Kind, Manifest, Progress, Target, catalog::list, manifest::Encryption, pace::Pace,
    reading::Reading, writing::Writing,
};
use crate::{
    archive::names,
    engine::EngineError,
    log::{Entry, reader::ReadError},
    store::{
        CopySource, Store,
        copying::{Outline, Reached},
        server_time_ms,
        state_hash::StateHash,
    },
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
pub const PORTIONS_WAITING: usize = 1;

/// Takes a backup. Commits go on meanwhile and do not wait for it. If it fails or is dropped, files without a manifest may
/// stay in the target, which [`expire`](super::expire()) removes later.
pub async fn create(
    store: &Store,
    target: &Target,
    options: &CreateOptions,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Manifest, BackupError> {
    let source = store.copy_source();
    let identity = source.identity();
    target.claim(&identity.store_id.to_string()).await?;
    check_incarnation(target, identity.incarnation).await?;
    let (begun_ms, last_seq) = (server_time_ms(), source.last_seq());
    let (from, outline) = match options.incremental {
        true => {
            let parent = find_parent(&source, target).await?;
            let outline = Outline {
                id: names::id(begun_ms, last_seq),
                kind: Kind::Incremental,
                store_id: identity.store_id.to_string(),
                incarnation: identity.incarnation,
                server_version: env!("CARGO_PKG_VERSION").into(),
                label: options.label.clone(),
                begun_ms,
                base_seq: parent.last_seq,
                applied: String::new(),
                encryption: target.encryption(),
                parent: parent.id.clone(),
            };
            (Reached::end_of(&parent), outline)
        }
        false => {
            let applied =
                (source.applied()).map_err(|e: EngineError| BackupError::Store(e.to_string()))?;
            let outline = Outline {
                label: options.label.clone(),
                encryption: target.encryption(),
                ..Outline::full(identity, begun_ms, last_seq, &applied)
            };
            (Reached::applied(&applied), outline)
        }
    };
    let mut writing = Writing::new(target, outline);
    writing.expect(source.records_total(), source.log_bytes(from.seq));
    let (portions, mut read) = mpsc::channel(PORTIONS_WAITING);
    let reading = Reading {
        source,
        portions,
        records_after: (!options.incremental).then(Bytes::new),
        from,
    };
    let reading = task::spawn_blocking(move || reading.run());
    let pace = Pace::new(options.bytes_per_second);
    while let Some(portion) = read.recv().await {
        writing.store(portion).await?;
        let told = writing.progress();
        pace.keep(told.bytes).await;
        progress(told);
    }
    let end = reading.await;
    let end = end.map_err(|e| BackupError::Store(e.to_string()))??;
    writing.complete(end).await
}

/// Refuses a store that is older than the newest backup: its backups would sort before those that are there, and none that
/// looks for the newest would see them.
pub async fn check_incarnation(target: &Target, incarnation: u64) -> Result<(), BackupError> {
    match list(target).await?.backups.last() {
        Some(newest) if newest.incarnation > incarnation => Err(BackupError::LaterIncarnation {
            target: target.url().into(),
            found: newest.incarnation,
            store: incarnation,
        }),
        _ => Ok(()),
    }
}

/// The newest backup of a target, to be continued with the target's key.
pub async fn newest(target: &Target) -> Result<Manifest, BackupError> {
    let no_parent = |why: String| BackupError::NoParent { why };
    let newest = list(target).await?.backups.pop();
    let newest =
        newest.ok_or_else(|| no_parent(format!("{} has no backup to continue", target.url())))?;
    let (theirs, ours) = (newest.encryption.as_ref(), target.encryption());
    if theirs != ours.as_ref() {
        // A restore takes both, and has one key.
        return Err(no_parent(format!(
            "backup {} is {}, and one that continues it would be {}",
            newest.id,
            encryption_words(theirs),
            encryption_words(ours.as_ref()),
        )));
    }
    Ok(newest)
}

fn encryption_words(encryption: Option<&Encryption>) -> String {
    match encryption {
        None => "not encrypted".into(),
        Some(of) => format!("encrypted with key {}", of.key_id),
    }
}

/// The backup to continue: the newest one, if the log goes on from there.
async fn find_parent(source: &CopySource, target: &Target) -> Result<Manifest, BackupError> {
    let no_parent = |why: String| BackupError::NoParent { why };
    let parent = newest(target).await?;
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
pub fn hash_at(source: &CopySource, seq: u64) -> Result<Option<String>, BackupError> {
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

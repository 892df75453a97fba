//! Whether a backup can be restored.

use std::path::{Path, PathBuf};

use futures_util::{StreamExt, stream};
use tokio::task;

use super::{
    BackupError, File, Manifest, Phase, Progress, RestoreOptions, Target, To, catalog::list,
    portion::check, restore, scratch::Scratch,
};

/// How to find out.
#[derive(Clone, Debug)]
pub enum Verify {
    /// Read all files that it needs and compare their checksums.
    Checksums,
    /// Restore it into a directory below this one, compare the state hash, and remove it again. What killed trials have left
    /// there goes, too.
    TrialRestore {
        /// Where there is room for a copy of the store.
        scratch: PathBuf,
        /// Bytes of the disk that are left free in any case.
        reserve_bytes: u64,
    },
}

/// What was found sound.
#[derive(Clone, Debug)]
pub struct VerifyReport {
    /// The backups that it takes, the full one first.
    pub backups: Vec<String>,
    /// Files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The backup.
    pub backup: Manifest,
    /// The state hash that the trial restore came to; none: there was none.
    pub state_hash: Option<String>,
}

/// Files that are read at once.
const AT_ONCE: usize = 4;

/// Verifies a backup, by its id or label or `latest`, with all those it continues. Fails if anything is wrong.
pub async fn verify(
    target: &Target,
    what: &str,
    how: &Verify,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<VerifyReport, BackupError> {
    let listing = list(target).await?;
    let end = listing.find(target, what)?;
    let chain = listing.chain(target, end)?;
    let files: Vec<File> = chain.iter().flat_map(|m| m.files.clone()).collect();
    let mut report = VerifyReport {
        backups: chain.iter().map(|m| m.id.clone()).collect(),
        files: files.len() as u64,
        bytes: files.iter().map(|f| f.bytes).sum(),
        backup: end.clone(),
        state_hash: None,
    };
    // A trial restore may stop at the first file that is damaged; whoever verifies wants to know of all.
    checksums(target, &end.id, files, progress).await?;
    if let Verify::TrialRestore {
        scratch,
        reserve_bytes,
    } = how
    {
        report.state_hash = trial(target, end, scratch, *reserve_bytes, progress).await?;
    }
    Ok(report)
}

/// Compares the checksums of the files of a backup, or of those that it takes.
pub(super) async fn checksums(
    target: &Target,
    id: &str,
    files: Vec<File>,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<(), BackupError> {
    let mut told = Progress {
        phase: Phase::Checking,
        records: 0,
        records_total: 0,
        bytes: 0,
        bytes_total: files.iter().map(|file| file.raw_bytes).sum(),
        stored_bytes: 0,
    };
    let mut problems = Vec::new();
    let checks = stream::iter(files).map(|file| async {
        let stored = target.get(&file.path).await?;
        let checked = task::spawn_blocking(move || (check(&file, &stored), file)).await;
        let (checked, file) = checked.map_err(|e| BackupError::Store(e.to_string()))?;
        checked.map_err(|detail| target.unreadable(&file.path, detail))?;
        Ok::<File, BackupError>(file)
    });
    let mut checks = checks.buffered(AT_ONCE);
    while let Some(checked) = checks.next().await {
        match checked {
            Ok(file) => {
                told.bytes += file.raw_bytes;
                told.stored_bytes += file.bytes;
                progress(told);
            }
            Err(problem @ (BackupError::Damaged { .. } | BackupError::Missing { .. })) => {
                problems.push(problem);
            }
            Err(error) => return Err(error),
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(BackupError::Unsound {
            id: id.to_owned(),
            problems,
        }),
    }
}

/// Restores a backup, and removes the result. Gives its state hash.
async fn trial(
    target: &Target,
    end: &Manifest,
    scratch: &Path,
    reserve_bytes: u64,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Option<String>, BackupError> {
    let place = scratch.to_owned();
    let scratch = task::spawn_blocking(move || Scratch::new(&place)).await;
    let scratch = scratch.map_err(|e| BackupError::Store(e.to_string()))??;
    let options = RestoreOptions {
        backup: end.id.clone(),
        to: To::Latest,
        into: scratch.path().join("store"),
        dry_run: false,
        reserve_bytes,
    };
    let restored = restore(target, &options, progress).await;
    // Large files take their time to be removed.
    let removed = task::spawn_blocking(move || drop(scratch)).await;
    let report = restored?;
    removed.map_err(|e| BackupError::Store(e.to_string()))?;
    match &end.state_hash {
        Some(expected) if report.state_hash.as_ref() != Some(expected) => {
            Err(BackupError::Differs {
                seq: end.last_seq,
                detail: "its state hash is not that in the manifest".into(),
            })
        }
        _ => Ok(report.state_hash),
    }
}

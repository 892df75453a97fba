//! The backups that a target has.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use object_store::ObjectMeta;

use super::{BackupError, Manifest, Target, manifest::Kind};
use crate::archive::{
    names::{DATA, MANIFESTS, manifest_path},
    sealed::{self, Unreadable},
};

/// The backups that a target has.
#[derive(Debug, Default)]
pub struct Listing {
    /// Those that are sound as far as their manifests tell, oldest first: by incarnation and newest commit.
    pub backups: Vec<Manifest>,
    /// What is wrong with the other manifests. Their backups cannot be used.
    pub damaged: Vec<BackupError>,
}

/// The name of whichever backup is the newest.
const LATEST: &str = "latest";

/// Manifests that are read at once: a bucket takes its time for each.
const AT_ONCE: usize = 16;

/// All backups of a target.
pub async fn list(target: &Target) -> Result<Listing, BackupError> {
    let mut listing = Listing::default();
    let mut manifests = stream::iter(files(target).await?)
        .map(|(path, _)| async move { read(target, &path).await })
        .buffered(AT_ONCE);
    while let Some(manifest) = manifests.next().await {
        match manifest {
            Ok(manifest) => listing.backups.push(manifest),
            // Of any other error the next file would tell, too.
            Err(error @ (BackupError::Damaged { .. } | BackupError::TooNew { .. })) => {
                listing.damaged.push(error);
            }
            // It has expired since.
            Err(BackupError::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let place = |m: &Manifest| (m.incarnation, m.last_seq, m.begun_ms);
    listing.backups.sort_by_key(place);
    Ok(listing)
}

/// One backup, by its id or its label (the newest with it), or `latest`.
pub async fn describe(target: &Target, what: &str) -> Result<Manifest, BackupError> {
    let listing = list(target).await?;
    listing.find(target, what).cloned()
}

/// What the newest backup lacks to be restored, with those it continues, as far as names and sizes tell: files, manifests.
/// `newest` is the backup that was taken last, if that is known.
pub async fn gaps(target: &Target, newest: Option<&str>) -> Result<Vec<BackupError>, BackupError> {
    let mut listing = list(target).await?;
    let mut gaps = Vec::new();
    if let Some(newest) = newest
        && !listing.backups.iter().any(|m| m.id == newest)
    {
        let file = target.name_of(&manifest_path(newest));
        let is_its = |error: &BackupError| unreadable_file(error) == Some(&file);
        let damaged = listing.damaged.iter().position(is_its);
        gaps.push(match damaged {
            Some(at) => listing.damaged.swap_remove(at),
            None => BackupError::Missing {
                file,
                remedy: "The backup that it made one cannot be restored",
            },
        });
    }
    let Some(end) = listing.backups.last() else {
        return Ok(gaps);
    };
    let chain = match listing.chain(target, end) {
        Ok(chain) => chain,
        Err(gap) => {
            gaps.push(gap);
            return Ok(gaps);
        }
    };
    let sizes: BTreeMap<String, u64> = (target.files(DATA).await?.into_iter())
        .map(|(path, meta)| (path, meta.size))
        .collect();
    for file in chain.iter().flat_map(|backup| &backup.files) {
        match sizes.get(&file.path) {
            Some(size) if *size == file.bytes => {}
            Some(size) => {
                let detail = format!("it has {size} bytes instead of {}", file.bytes);
                gaps.push(target.unreadable(&file.path, detail));
            }
            None => gaps.push(BackupError::Missing {
                file: target.name_of(&file.path),
                remedy: "The backups that need it cannot be restored",
            }),
        }
    }
    Ok(gaps)
}

impl Listing {
    /// One of them, by its id or its label (the newest with it), or `latest`.
    /// The newest is not another one when its manifest cannot be read: whoever goes back to that one is to say so.
    pub(super) fn find(&self, target: &Target, what: &str) -> Result<&Manifest, BackupError> {
        let mut newest_first = self.backups.iter().rev();
        let found = match what {
            LATEST => newest_first
                .next()
                .filter(|m| !self.is_unreadable_behind(target, m)),
            _ => (newest_first.clone().find(|m| m.id == what))
                .or_else(|| newest_first.find(|m| m.label == what)),
        };
        found.ok_or_else(|| BackupError::NoBackup {
            what: what.to_owned(),
            target: target.url().to_owned(),
            hint: self.hint(),
        })
    }

    /// Whether there is a newer manifest than this one, as far as names tell, that cannot be read.
    fn is_unreadable_behind(&self, target: &Target, newest: &Manifest) -> bool {
        let file = target.name_of(&manifest_path(&newest.id));
        let mut damaged = self.damaged.iter().filter_map(unreadable_file);
        damaged.any(|found| *found > *file)
    }

    fn hint(&self) -> String {
        let damaged: String = (self.damaged.iter())
            .map(|error| format!("\n  {error}"))
            .collect();
        let there = match self.backups.last() {
            None => ", nor any other".to_owned(),
            Some(newest) => format!("; the newest that can be read is {}", newest.id),
        };
        there + &damaged
    }

    /// A backup with all those it continues, the full one first.
    pub(super) fn chain<'a>(
        &'a self,
        target: &Target,
        end: &'a Manifest,
    ) -> Result<Vec<&'a Manifest>, BackupError> {
        let mut chain = vec![end];
        let mut first = end;
        // A parent is an older one, so all are found in one pass.
        let mut older = self.backups.iter().rev();
        while first.kind == Kind::Incremental {
            let parent = older.find(|m| m.id == first.parent);
            first = parent.ok_or_else(|| self.why_gone(target, &first.parent))?;
            chain.push(first);
        }
        chain.reverse();
        Ok(chain)
    }

    /// Why a backup that is continued is not among them: its manifest cannot be read, or is not there.
    fn why_gone(&self, target: &Target, id: &str) -> BackupError {
        let file = target.name_of(&manifest_path(id));
        let mut damaged = self.damaged.iter();
        match damaged.find(|error| unreadable_file(error) == Some(&file)) {
            Some(BackupError::TooNew { found, known, .. }) => BackupError::TooNew {
                file,
                found: *found,
                known: *known,
            },
            Some(BackupError::Damaged { detail, .. }) => BackupError::Damaged {
                file,
                detail: detail.clone(),
                remedy: REMEDY_CONTINUED,
            },
            _ => BackupError::Missing {
                file,
                remedy: REMEDY_CONTINUED,
            },
        }
    }
}

const REMEDY_CONTINUED: &str =
    "Backups that continue it cannot be restored to their end; an older one may";

/// The manifest that cannot be read.
fn unreadable_file(error: &BackupError) -> Option<&str> {
    match error {
        BackupError::Damaged { file, .. } | BackupError::TooNew { file, .. } => Some(file),
        _ => None,
    }
}

/// Writes the manifest, which makes the backup one.
pub(super) async fn write(target: &Target, manifest: &Manifest) -> Result<(), BackupError> {
    let path = manifest_path(&manifest.id);
    let text = sealed::seal(manifest).map_err(|error| target.unreadable(&path, error))?;
    target.put_new(&path, text.into()).await
}

/// Removes the manifest: the backup is none any more.
pub(super) async fn remove(target: &Target, id: &str) -> Result<(), BackupError> {
    target.remove(&manifest_path(id)).await
}

/// The manifests, by path.
async fn files(target: &Target) -> Result<Vec<(String, ObjectMeta)>, BackupError> {
    let mut found = target.files(MANIFESTS).await?;
    found.retain(|(path, _)| path.ends_with(".json"));
    Ok(found)
}

async fn read(target: &Target, path: &str) -> Result<Manifest, BackupError> {
    let bytes = target.get(path).await?;
    sealed::unseal(path, &bytes).map_err(|error| match error {
        Unreadable::TooNew { found, known } => BackupError::TooNew {
            file: target.name_of(path),
            found,
            known,
        },
        Unreadable::Damaged(detail) => target.unreadable(path, detail),
    })
}

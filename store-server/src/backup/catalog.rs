//! The backups that a target has.

use std::time::{Duration, SystemTime};

use object_store::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    BackupError, Manifest, Target,
    manifest::{FORMAT_ENCRYPTED, Kind},
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

/// Where manifests are.
const FOLDER: &str = "manifest";

/// A manifest in its file. The checksum is that of the manifest's text as it stands there.
#[derive(Serialize, Deserialize)]
struct Sealed<'a> {
    blake3: String,
    #[serde(borrow)]
    manifest: &'a RawValue,
}

/// All backups of a target.
pub async fn list(target: &Target) -> Result<Listing, BackupError> {
    let mut listing = Listing::default();
    for (path, _) in files(target).await? {
        match read(target, &path).await {
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

impl Listing {
    /// One of them, by its id or its label (the newest with it), or `latest`.
    pub(super) fn find(&self, target: &Target, what: &str) -> Result<&Manifest, BackupError> {
        let mut newest_first = self.backups.iter().rev();
        let found = match what {
            LATEST => newest_first.next(),
            _ => (newest_first.clone().find(|m| m.id == what))
                .or_else(|| newest_first.find(|m| m.label == what)),
        };
        found.ok_or_else(|| BackupError::NoBackup {
            what: what.to_owned(),
            target: target.url().to_owned(),
            hint: self.hint(),
        })
    }

    fn hint(&self) -> String {
        let damaged: String = (self.damaged.iter())
            .map(|error| format!("\n  {error}"))
            .collect();
        let there = match self.backups.last() {
            None => ", nor any other".to_owned(),
            Some(newest) => format!("; the newest is {}", newest.id),
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
        while first.kind == Kind::Incremental {
            let parent = self.backups.iter().find(|m| m.id == first.parent);
            first = parent.ok_or_else(|| BackupError::Missing {
                file: target.name_of(&path_of(&first.parent)),
                remedy: "Backups that continue it cannot be restored to their end; an older one may",
            })?;
            chain.push(first);
        }
        chain.reverse();
        Ok(chain)
    }
}

/// Writes the manifest, which makes the backup one.
pub(super) async fn write(target: &Target, manifest: &Manifest) -> Result<(), BackupError> {
    let path = path_of(&manifest.id);
    let failed = |error: serde_json::Error| target.unreadable(&path, error);
    let raw = serde_json::to_string(manifest)
        .and_then(RawValue::from_string)
        .map_err(failed)?;
    let sealed = Sealed {
        blake3: blake3::hash(raw.get().as_bytes()).to_string(),
        manifest: &raw,
    };
    let text = serde_json::to_vec(&sealed).map_err(failed)?;
    target.put_new(&path, text.into()).await
}

/// Removes the manifest: the backup is none any more.
pub(super) async fn remove(target: &Target, id: &str) -> Result<(), BackupError> {
    target.remove(&path_of(id)).await
}

/// The manifests, by path.
async fn files(target: &Target) -> Result<Vec<(String, ObjectMeta)>, BackupError> {
    let mut found = target.files(FOLDER).await?;
    found.retain(|(path, _)| path.ends_with(".json"));
    Ok(found)
}

async fn read(target: &Target, path: &str) -> Result<Manifest, BackupError> {
    let bytes = target.get(path).await?;
    let failed = |error: serde_json::Error| target.unreadable(path, error);
    let sealed: Sealed<'_> = serde_json::from_slice(&bytes).map_err(failed)?;
    if blake3::hash(sealed.manifest.get().as_bytes()).to_string() != sealed.blake3 {
        return Err(target.unreadable(path, "its checksum is wrong"));
    }
    #[derive(Deserialize)]
    struct FormatOnly {
        format: u32,
    }
    // The format decides how the rest is read, so look at it alone first.
    let FormatOnly { format } = serde_json::from_str(sealed.manifest.get()).map_err(failed)?;
    if format > FORMAT_ENCRYPTED {
        return Err(BackupError::TooNew {
            file: target.name_of(path),
            found: format,
            known: FORMAT_ENCRYPTED,
        });
    }
    let manifest = Manifest::from_json(sealed.manifest.get()).map_err(failed)?;
    if path_of(&manifest.id) != path {
        return Err(target.unreadable(path, format!("it is that of backup {}", manifest.id)));
    }
    Ok(manifest)
}

/// A time, in milliseconds since 1970, for people.
pub(super) fn time(time_ms: u64) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(time_ms);
    humantime::format_rfc3339_millis(time).to_string()
}

fn path_of(id: &str) -> String {
    format!("{FOLDER}/{id}.json")
}

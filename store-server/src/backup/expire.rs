//! Which backups may go.
//!
//! Of each hour, day, week and month the newest backup stands for the period. Kept are those that stand for the newest
//! periods, and what they continue. Manifests go before files: a backup that is half removed is none.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use super::{
    BackupError, Manifest, Target,
    catalog::{self, Listing, list},
    partial::Note,
    unfinished,
};
use crate::archive::names::{self, DATA};

/// How many backups to keep of each kind of period, the newest of each. The newest backup of all is always kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Hours.
    pub hourly: u32,
    /// Days, in UTC.
    pub daily: u32,
    /// Weeks, from Monday on.
    pub weekly: u32,
    /// Months.
    pub monthly: u32,
}

/// What was removed, or in a dry run would be.
#[derive(Clone, Debug, Default)]
pub struct Expired {
    /// The backups kept because of their period, or because those need them.
    pub kept: Vec<String>,
    /// The backups removed.
    pub removed: Vec<String>,
    /// Files of backups that were never completed, and files that were never written to their end.
    pub leftovers: Vec<String>,
    /// Bytes of all files removed.
    pub bytes: u64,
}

/// A file without a manifest may be that of a backup which is being taken; after this time it is not.
const LEFTOVER_AFTER: Duration = Duration::from_secs(7 * 86400);

/// Removes the backups that are not to be kept.
pub async fn expire(target: &Target, keep: &Keep, dry_run: bool) -> Result<Expired, BackupError> {
    let mut listing = list(target).await?;
    // A backup that cannot be read may need any other.
    if let Some(damaged) = listing.damaged.pop() {
        return Err(damaged);
    }
    let mut kept = kept(target, &listing, keep)?;
    // One that is being pulled can be gone on with at any later time, and takes what it continues. A note that cannot be read
    // is of no use to its puller either.
    let note = Note::read(target).await?.and_then(Result::ok);
    if let Some(note) = &note {
        let parent = &note.outline.parent;
        if let Some(parent) = listing.backups.iter().find(|m| m.id == *parent) {
            let chain = listing.chain(target, parent)?;
            kept.extend(chain.iter().map(|m| &m.id[..]));
        }
    }
    let under_way = note.as_ref().map(|note| &note.outline.id[..]);
    let mut expired = Expired::default();
    for backup in &listing.backups {
        match kept.contains(&backup.id[..]) {
            true => expired.kept.push(backup.id.clone()),
            false => expired.removed.push(backup.id.clone()),
        }
    }
    // The newest first: what is left in between still has all that it continues.
    if !dry_run {
        for id in expired.removed.iter().rev() {
            catalog::remove(target, id).await?;
        }
    }
    let now = SystemTime::now();
    for (path, meta) in target.files(DATA).await? {
        let id = path.split('/').nth(1).unwrap_or_default();
        let is_removed = expired.removed.iter().any(|removed| removed == id);
        let age = now.duration_since(meta.last_modified.into());
        let is_of_one = kept.contains(id) || is_removed || under_way == Some(id);
        let is_leftover = !is_of_one && age.is_ok_and(|age| age > LEFTOVER_AFTER);
        if !is_removed && !is_leftover {
            continue;
        }
        if !dry_run {
            target.remove(&path).await?;
        }
        expired.bytes += meta.size;
        if is_leftover {
            expired.leftovers.push(path);
        }
    }
    for file in unfinished::unfinished(target).await? {
        if !dry_run {
            unfinished::remove(target, &file).await?;
        }
        expired.bytes += file.bytes;
        expired.leftovers.push(file.path);
    }
    Ok(expired)
}

/// Names the period that a backup is of.
type Period = fn(&Manifest) -> String;

/// The ids of the backups to keep.
fn kept<'a>(
    target: &Target,
    listing: &'a Listing,
    keep: &Keep,
) -> Result<BTreeSet<&'a str>, BackupError> {
    let periods: [(u32, Period); 4] = [
        (keep.hourly, |m| (m.begun_ms / HOUR_MS).to_string()),
        (keep.daily, |m| (m.begun_ms / DAY_MS).to_string()),
        // The first day of 1970 was a Thursday.
        (keep.weekly, |m| ((m.begun_ms / DAY_MS + 3) / 7).to_string()),
        (keep.monthly, |m| names::time(m.begun_ms)[..7].to_owned()),
    ];
    let mut kept = BTreeSet::new();
    let mut seen: [BTreeSet<String>; 4] = Default::default();
    for backup in listing.backups.iter().rev() {
        let mut stands = kept.is_empty();
        for ((count, period_of), seen) in periods.iter().zip(&mut seen) {
            let has_room = seen.len() < *count as usize;
            stands |= seen.insert(period_of(backup)) && has_room;
        }
        // What a kept one needs is kept with it.
        if stands && !kept.contains(&backup.id[..]) {
            let chain = listing.chain(target, backup)?;
            kept.extend(chain.iter().map(|m| &m.id[..]));
        }
    }
    Ok(kept)
}

const HOUR_MS: u64 = 3_600_000;

const DAY_MS: u64 = 24 * HOUR_MS;

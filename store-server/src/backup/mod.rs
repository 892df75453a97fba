//! Backups of a running store in a directory or bucket, and the way back.
//!
//! # Idea
//!
//! A *full* backup is a copy of all records, taken while commits go on and therefore fuzzy, and the part of the commit log
//! that mends it. An *incremental* one is the part of the log since its parent. So all of them together are a copy of the
//! log with states to begin from, and any commit that they cover can be gone back to:
//!
//! ```text
//!            base_seq   last_seq
//!   full     ──▲─scan─────│         records as of base_seq or newer, and the log (base_seq, last_seq]
//!   incr.                 │─────│   the log (last_seq of the parent, last_seq]
//!   incr.                       │──────│
//! ```
//!
//! The end of a full backup's log is read after the scan, from the log itself, so everything that the scan has seen is in it.
//! A state before that end cannot be told from the scan; it takes an older full backup.
//!
//! # In the target
//!
//! ```text
//! store.json                       which store's backups these are
//! data/ID/records-000000.zst ...   the records in key order, in portions
//! data/ID/log-000000.zst ...       log entries in order, in portions
//! manifest/ID.json                 what the backup is, and the checksum of each file; written last
//! partial.json                     what came of a backup that is being pulled, and may be gone on with
//! ```
//!
//! In a directory a file is called `NAME#1` or the like until it is whole.
//!
//! Data files may be encrypted (`.zst.aes`); their checksums are of the bytes as they are stored, so it takes no key to find
//! damage. But for `partial.json` no name is ever written twice. What has no manifest is no backup. Every file is checked
//! against the manifest before any of its content is used, and a restored state against the state hash that the log has for
//! its last commit.
//!
//! # Layout
//!
//! - `target`: where backups are. `manifest`: what one is. `catalog`: those that are there.
//! - `create`, `restore`, `verify`, `expire`: what is done with them, each in its file.
//! - `give`, `receive`: the two ends of a backup that is pulled. `coming`: what came of it. `partial`: what is noted of that.
//! - `reading`, `writing`: the two sides of a backup that is taken. `pace`: how fast it is read. `crypt`: its encryption.
//! - `unfinished`: what somebody who was killed has left of a file in a directory.
//! - `restored`: a backup that is restored only to be looked at.
//! - `history`: what `restore` takes. `portion`: what is in the files.
//! - `progress`: how far it is. `error`: why it failed.

mod catalog;
mod coming;
mod create;
mod crypt;
mod error;
mod expire;
pub(crate) mod give;
mod history;
pub(crate) mod pace;
mod partial;
mod progress;
mod reading;
mod receive;
mod restore;
mod restored;
mod scratch;
mod target;
mod unfinished;
mod verify;
mod writing;

use crate::archive::manifest;
pub(crate) use crate::archive::portion;

pub(crate) use self::create::hash_at;
pub use self::{
    catalog::{Listing, describe, gaps, list},
    create::{CreateOptions, create},
    crypt::Key,
    error::BackupError,
    expire::{Expired, Keep, expire},
    manifest::{File, FileKind, Kind, Manifest, Mark},
    progress::{Phase, Progress},
    receive::{Found, PullOptions, Receiving, Taken},
    restore::{RestoreOptions, RestoreReport, To, restore, restore_above},
    restored::Restored,
    scratch::Scratch,
    target::Target,
    verify::{Verify, VerifyReport, verify},
};

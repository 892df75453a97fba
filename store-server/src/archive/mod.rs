//! How a copy of a store lies in files: what backups and checkpoints are made of.
//!
//! ```text
//! data/ID/records-000000.zst ...   the records in key order, in portions
//! data/ID/log-000000.zst ...       log entries in order, in portions
//! manifest/ID.json                 what the copy is, and the checksum of each file; written last
//! ```
//!
//! What has no manifest is no copy. Where the files are, and how they are written and read there, is for those who use this:
//! a backup has them in a directory or bucket, a checkpoint in the data directory.
//!
//! # Layout
//!
//! - `manifest`: what a copy is. `sealed`: a manifest in its file. `portion`: what is in the other files.
//! - `names`: how copies and files are called.

pub mod manifest;
pub mod names;
pub mod portion;
pub mod sealed;

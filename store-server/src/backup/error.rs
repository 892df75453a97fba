//! Why a backup, a restore or a check failed. Each error names the thing and what can be done.

use std::{io, path::PathBuf};

use thiserror::Error;

/// Why it failed. A backup that failed is none: it has no manifest. A restore that failed left no directory.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The target's URL means nothing.
    #[error(
        "{url:?} is no place for backups: {detail}. Name a directory, or a URL such as s3://bucket/prefix, gs://bucket/prefix, \
         az://container/prefix"
    )]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The target does not answer, or refuses.
    #[error("{file}: {source}")]
    Target {
        /// The file, or the whole target.
        file: String,
        /// What it said.
        source: object_store::Error,
    },
    /// The target has the backups of another store.
    #[error(
        "{target} has the backups of store {found}, this is store {store}: choose a directory or prefix of its own for each store"
    )]
    ForeignStore {
        /// The target.
        target: String,
        /// Whose backups it has.
        found: String,
        /// Whose backup was to be added.
        store: String,
    },
    /// The target was written by a newer program.
    #[error(
        "{file} has format {found}, this program knows formats up to {known}: use a newer stillpoint"
    )]
    TooNew {
        /// The file.
        file: String,
        /// Its format.
        found: u32,
        /// The newest format that this program knows.
        known: u32,
    },
    /// There is no such backup.
    #[error("there is no backup {what:?} in {target}{hint}")]
    NoBackup {
        /// What was asked for.
        what: String,
        /// The target.
        target: String,
        /// What there is.
        hint: String,
    },
    /// A backup of this name is there already.
    #[error(
        "{file} is there already: another backup of this store is being taken at the same moment; try again"
    )]
    Exists {
        /// The file.
        file: String,
    },
    /// A file that a backup has is not there.
    #[error("{file} is missing: it was removed from the target. {remedy}")]
    Missing {
        /// The file.
        file: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A file is not as it was written.
    #[error("{file} is damaged: {detail}. {remedy}")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong with it.
        detail: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The file that should have a key has none, or one that is not safe.
    #[error("{} {detail}", .path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        detail: String,
    },
    /// What is encrypted cannot be read without its key.
    #[error(
        "{what} is encrypted with key {needed}, and {}: name the file of key {needed} with --key-file, \
         STILLPOINT_BACKUP_KEY_FILE or, for what the server does, the setting backup.key_file",
        match .given {
            Some(given) => format!("the key given is {given}"),
            None => "no key is given".into(),
        }
    )]
    Key {
        /// The backup or the file.
        what: String,
        /// The name of the key that it takes.
        needed: String,
        /// The name of the key that was given.
        given: Option<String>,
    },
    /// Several things are wrong with a backup.
    #[error("backup {id} cannot be restored:{}", .problems.iter().map(|p| format!("\n  {p}")).collect::<String>())]
    Unsound {
        /// The backup.
        id: String,
        /// What is wrong, at least one.
        problems: Vec<BackupError>,
    },
    /// The log does not reach back to the last backup.
    #[error(
        "the log begins with commit {first_seq}, but backup {parent} ends before it, with commit {last_seq}: take a full backup, \
         and incremental ones more often than log.retention_secs and log.retention_bytes remove the log"
    )]
    LogGone {
        /// The backup that was to be continued.
        parent: String,
        /// Its last commit.
        last_seq: u64,
        /// The oldest commit in the log.
        first_seq: u64,
    },
    /// The log does not reach back to what was pulled before.
    #[error(
        "the log begins with commit {first_seq}, and what is to be continued ends before it, with commit {last_seq}: take a full \
         backup, and incremental ones more often than log.retention_secs and log.retention_bytes remove the log"
    )]
    LogCut {
        /// The last commit that is there.
        last_seq: u64,
        /// The oldest commit in the log.
        first_seq: u64,
    },
    /// The store was brought back to another moment since.
    #[error(
        "the store is incarnation {store}, and what is to be continued is of incarnation {found}: take a full backup"
    )]
    OtherIncarnation {
        /// That of the store.
        store: u64,
        /// That of what is to be continued.
        found: u64,
    },
    /// The target has backups of what was restored from this store, or from one that it is a copy of.
    #[error(
        "{target} has backups of incarnation {found}, this store is incarnation {store}: it is an older copy of the store, or \
         what was restored from it uses this target; give it a target of its own"
    )]
    LaterIncarnation {
        /// The target.
        target: String,
        /// The newest incarnation in it.
        found: u64,
        /// That of the store.
        store: u64,
    },
    /// What was pulled before is newer than the store.
    #[error(
        "the store has no commit {seq}, and what is to be continued does: it is of a copy of the store. Take a full backup"
    )]
    NotThere {
        /// The commit.
        seq: u64,
    },
    /// A backup of another kind is not complete.
    #[error(
        "{kind} backup, {id}, was begun in {target} and is not complete: go on with it first, or give it up with --restart"
    )]
    OtherKind {
        /// Its name.
        id: String,
        /// What it is, with the article.
        kind: &'static str,
        /// The target.
        target: String,
    },
    /// Somebody else pulls to the same directory.
    #[error("another process is pulling a backup to {}: wait for its end", .dir.display())]
    Pulling {
        /// The directory.
        dir: PathBuf,
    },
    /// What the server told makes no sense.
    #[error(
        "the server's answer makes no sense: {detail}. Use a stillpoint of the same version as the server"
    )]
    Answer {
        /// What is wrong with it.
        detail: String,
    },
    /// There is no backup to continue.
    #[error("{why}: take a full backup first")]
    NoParent {
        /// Why there is none.
        why: String,
    },
    /// The state that was asked for is in no backup.
    #[error("{what} is not in the backups of {target}: {detail}")]
    NotCovered {
        /// What was asked for.
        what: String,
        /// The target.
        target: String,
        /// What is.
        detail: String,
    },
    /// The directory to restore into is not free.
    #[error("{} {detail}: restore into a new or empty directory", .path.display())]
    Into {
        /// The directory.
        path: PathBuf,
        /// What it is instead.
        detail: String,
    },
    /// What was restored is not what was backed up.
    #[error(
        "the state restored at commit {seq} is not what it was: {detail}. Nothing was kept. Restore another backup, and keep \
         this one for whoever looks into it"
    )]
    Differs {
        /// The commit.
        seq: u64,
        /// How it differs.
        detail: String,
    },
    /// The target is not the place any more that it was.
    #[error(
        "{target} had backups of this store and has none any more, nor its store.json: it was removed, or is not mounted. Bring \
         it back; or, if backups are to begin anew there, take one by hand: stillpoint backup create --to {target}"
    )]
    Vacant {
        /// The target.
        target: String,
    },
    /// There is no room for what is restored.
    #[error(
        "{} has {} MiB free, about {} MiB are needed: make room, or choose another place",
        .path.display(), .free >> 20, .needed.div_ceil(1 << 20)
    )]
    NoRoom {
        /// The directory.
        path: PathBuf,
        /// Bytes that it takes.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The store that is backed up, or the one being restored, failed.
    #[error("{0}")]
    Store(String),
    /// The disk failed.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

//! From backups to a data directory.
//!
//! The directory is built aside, beside the one that is asked for, and gets its name when it is complete and compared with
//! the log. Files are fetched and checked while those before are brought in, on a thread of its own; that thread removes
//! what it has built unless it is told that nothing follows, so a restore that is given up leaves nothing.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{self, Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use stillpoint_migrations::format::{self, Identity};
use tokio::{sync::mpsc, task};
use uuid::Uuid;

use super::{
    BackupError, File, FileKind, Phase, Progress, Target,
    catalog::list,
    history::{History, Plan},
    scratch::check_room,
};
use crate::{
    archive::names::manifest_path,
    store::{Applied, BuildError, Builder, Namespace, is_mount_point},
};

/// What to restore.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// The backup that the state is looked for in, by its id or label, with those of the same history before it; `latest`.
    pub backup: String,
    /// Which state.
    pub to: To,
    /// The data directory to make. It must not exist or be empty.
    pub into: PathBuf,
    /// Only tell what would be done.
    pub dry_run: bool,
    /// Bytes of the disk that are left free in any case, for a running store that writes to the same one.
    pub reserve_bytes: u64,
}

/// Which state to go back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// The newest that the backup has.
    Latest,
    /// After the commit with this sequence number.
    Seq(u64),
    /// After the commit that is this revision of a namespace.
    Revision {
        /// The namespace.
        namespace: String,
        /// The revision.
        revision: u64,
    },
    /// Before the first commit after this time, in milliseconds since 1970, by the server's clock.
    Time(u64),
    /// After the commit that set this label, or at the end of the newest backup that is called so.
    Label(String),
}

/// What was restored, or in a dry run would be.
#[derive(Clone, Debug)]
pub struct RestoreReport {
    /// The backups that it takes, the full one first.
    pub backups: Vec<String>,
    /// Sequence number of the last commit.
    pub seq: u64,
    /// Its time, in milliseconds since 1970; 0 in a dry run.
    pub time_ms: u64,
    /// The namespaces; empty in a dry run.
    pub namespaces: BTreeMap<String, Namespace>,
    /// The state hash, compared with the log's; none in a dry run.
    pub state_hash: Option<String>,
    /// The store.
    pub store_id: String,
    /// Its new incarnation.
    pub incarnation: u64,
    /// Bytes of the files that it takes.
    pub stored_bytes: u64,
    /// Their bytes before compression.
    pub raw_bytes: u64,
    /// About how many bytes of the disk the new data directory takes.
    pub room_bytes: u64,
    /// The data directory.
    pub into: PathBuf,
}

/// Files that are fetched while one is brought in.
const FETCHED_AHEAD: usize = 4;

/// Restores a state into a new data directory, which is there only if all went well.
///
/// Its incarnation is the time, in microseconds since 1970, or more: the backups do not tell which incarnations there were,
/// since another restore from them may have made one that has no backup yet, and two of them may run at once. Were the two the
/// same, clients would take what they know of the one for the other's. (Whoever reads it as a floating-point number does so
/// exactly until the year 2255.)
pub async fn restore(
    target: &Target,
    options: &RestoreOptions,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<RestoreReport, BackupError> {
    restore_as(target, options, now_us(), progress).await
}

/// The same for a store that is running, as this incarnation: the one that is restored is the next, above all in backups.
pub async fn restore_above(
    target: &Target,
    options: &RestoreOptions,
    incarnation: u64,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<RestoreReport, BackupError> {
    restore_as(target, options, incarnation + 1, progress).await
}

fn now_us() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.map_or(0, |since| since.as_micros() as u64)
}

async fn restore_as(
    target: &Target,
    options: &RestoreOptions,
    at_least: u64,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<RestoreReport, BackupError> {
    let place = Place::new(&options.into, options.reserve_bytes)?;
    let listing = list(target).await?;
    let history = History::new(target, &listing, &options.backup)?;
    let plan = history.plan(&options.to).await?;
    for backup in (listing.backups.iter()).filter(|m| plan.backups.contains(&m.id)) {
        target.check_key(backup)?;
    }
    // Above all that there were, since clients may know any of them.
    let incarnations = listing.backups.iter().map(|m| m.incarnation + 1);
    let incarnation = incarnations.fold(at_least, u64::max);
    let mut report = RestoreReport {
        backups: plan.backups.clone(),
        seq: plan.seq,
        time_ms: 0,
        namespaces: BTreeMap::new(),
        state_hash: None,
        store_id: plan.base.store_id.clone(),
        incarnation,
        stored_bytes: plan.files.iter().map(|f| f.bytes).sum(),
        raw_bytes: plan.files.iter().map(|f| f.raw_bytes).sum(),
        room_bytes: room_for(&plan.files),
        into: options.into.clone(),
    };
    if !options.dry_run {
        let room = report.room_bytes.saturating_add(options.reserve_bytes);
        check_room(&options.into, room)?;
        let built = build(target, plan, incarnation, place, progress).await?;
        report.time_ms = built.time_ms;
        report.namespaces = built.applied.namespaces;
        report.state_hash = built.applied.state_hash.map(|hash| hash.to_string());
    }
    Ok(report)
}

/// About how many bytes of the disk it takes to build a state from these files: the records in the engine and in the
/// checkpoint; and of what the log writes over and over, as much again at most.
fn room_for(files: &[File]) -> u64 {
    let of = |kind| {
        let files = files.iter().filter(|file| file.kind == kind);
        files.map(|file| file.raw_bytes).sum::<u64>()
    };
    let (records, log) = (of(FileKind::Records), of(FileKind::Log));
    2 * records + log.min(records.max(LOG_ROOM_BYTES))
}

/// Bytes that the engine may write beside what it is given.
const ENGINE_ROOM_BYTES: u64 = 16 << 20;

/// Bytes that the log may take in a state that begins with next to nothing.
const LOG_ROOM_BYTES: u64 = 64 << 20;

/// What was built.
struct Built {
    applied: Applied,
    time_ms: u64,
}

async fn build(
    target: &Target,
    plan: Plan,
    incarnation: u64,
    place: Place,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Built, BackupError> {
    let manifest = manifest_path(&plan.base.id);
    let unreadable = |detail: String| target.unreadable(&manifest, detail);
    let applied = (BASE64.decode(&plan.base.applied).map_err(|e| e.to_string()))
        .and_then(|bytes| Applied::decode(&bytes))
        .map_err(unreadable)?;
    let store_id = Uuid::parse_str(&plan.base.store_id).map_err(|e| unreadable(e.to_string()))?;
    let mut told = Progress {
        phase: Phase::Records,
        records: 0,
        records_total: plan.base.records,
        bytes: 0,
        bytes_total: plan.files.iter().map(|file| file.raw_bytes).sum(),
        stored_bytes: 0,
    };
    let (files, fetched) = mpsc::channel(FETCHED_AHEAD);
    let site = Site {
        target: target.clone(),
        identity: Identity {
            format: format::CURRENT,
            store_id,
            incarnation,
        },
        applied,
        base_time_ms: plan.base.last_time_ms,
        seq: plan.seq,
        place,
    };
    let building = task::spawn_blocking(move || site.build(fetched));
    let sent = send(target, plan.files, files, &mut told, progress).await;
    // It has removed what it built before the error is told.
    let built = building.await;
    sent?;
    built.map_err(|e| BackupError::Store(e.to_string()))?
}

/// Fetches the files for the builder, in order, until it does not want any more.
async fn send(
    target: &Target,
    files: Vec<File>,
    builder: mpsc::Sender<Part>,
    told: &mut Progress,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<(), BackupError> {
    let fetching = stream::iter(files).map(|file| async {
        let stored = target.get(&file.path).await?;
        Ok::<_, BackupError>((file, stored))
    });
    let mut fetching = fetching.buffered(FETCHED_AHEAD);
    while let Some((file, stored)) = fetching.try_next().await? {
        told.bytes += file.raw_bytes;
        told.stored_bytes += file.bytes;
        match file.kind {
            FileKind::Records => told.records += file.entries,
            FileKind::Log => told.phase = Phase::Log,
        }
        if builder.send(Part::File(file, stored)).await.is_err() {
            // It has failed, and tells why in the end.
            return Ok(());
        }
        progress(*told);
    }
    told.phase = Phase::Finishing;
    progress(*told);
    let _ = builder.send(Part::End).await;
    Ok(())
}

/// What the builder is told.
enum Part {
    /// The next file.
    File(File, Bytes),
    /// That was all.
    End,
}

/// The building side of a restore.
struct Site {
    target: Target,
    identity: Identity,
    applied: Applied,
    /// Time of the full backup's newest commit.
    base_time_ms: u64,
    seq: u64,
    place: Place,
}

impl Site {
    fn build(self, mut parts: mpsc::Receiver<Part>) -> Result<Built, BackupError> {
        self.place.make_parent()?;
        let mut builder = Builder::new(&self.place.aside, &self.identity, &self.applied)
            .map_err(|error| self.failed("", error))?;
        loop {
            match parts.blocking_recv() {
                Some(Part::File(file, stored)) => self.add(&mut builder, &file, &stored)?,
                Some(Part::End) => break,
                None => return Err(BackupError::Store("the restore was given up".into())),
            }
        }
        if builder.seq() != self.seq {
            return Err(BackupError::Differs {
                seq: self.seq,
                detail: format!("the files end with commit {}", builder.seq()),
            });
        }
        let finished = builder.finish(&self.place.into);
        let (applied, time_ms) = finished.map_err(|error| self.failed("", error))?;
        Ok(Built {
            applied,
            time_ms: match time_ms {
                0 => self.base_time_ms,
                time_ms => time_ms,
            },
        })
    }

    fn add(&self, builder: &mut Builder, file: &File, stored: &[u8]) -> Result<(), BackupError> {
        // Somebody else may have taken the room since the beginning, and the engine waits for ever when a write of it fails.
        let room = 2 * file.raw_bytes + ENGINE_ROOM_BYTES;
        let room = room.saturating_add(self.place.reserve_bytes);
        check_room(&self.place.aside, room)?;
        let raw = self.target.unpack(file, stored)?;
        let added = builder.add(file, raw);
        added.map_err(|error| self.failed(&file.path, error))
    }

    fn failed(&self, path: &str, error: BuildError) -> BackupError {
        match error {
            BuildError::Content(detail) => self.target.unreadable(path, detail),
            error @ BuildError::Differs { .. } => BackupError::Differs {
                seq: self.seq,
                detail: error.to_string(),
            },
            error => BackupError::Store(error.to_string()),
        }
    }
}

/// Where the data directory is going to be.
#[derive(Debug)]
struct Place {
    into: PathBuf,
    /// Where it is built: beside it, so that it can be renamed.
    aside: PathBuf,
    /// Bytes of its disk that are left free.
    reserve_bytes: u64,
}

impl Place {
    fn new(into: &Path, reserve_bytes: u64) -> Result<Place, BackupError> {
        let refuse = |detail: &str| BackupError::Into {
            path: into.to_owned(),
            detail: detail.into(),
        };
        let into = path::absolute(into).map_err(io_error(into))?;
        let (Some(parent), Some(name)) = (into.parent(), into.file_name()) else {
            return Err(refuse("is the root of all directories"));
        };
        // Hidden, as one that is hidden anyway is.
        let mut aside = std::ffi::OsString::from(match name.as_encoded_bytes() {
            [b'.', ..] => "",
            _ => ".",
        });
        aside.push(name);
        aside.push(".restoring");
        match fs::read_dir(&into) {
            Ok(mut items) => {
                if items.next().is_some() {
                    return Err(refuse("is not empty"));
                }
                if is_mount_point(&into).map_err(io_error(&into))? {
                    return Err(refuse(
                        "is a mount point, which cannot be replaced as a whole",
                    ));
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
                return Err(refuse("is not a directory"));
            }
            Err(e) => return Err(io_error(&into)(e)),
        }
        Ok(Place {
            aside: parent.join(aside),
            into,
            reserve_bytes,
        })
    }

    fn make_parent(&self) -> Result<(), BackupError> {
        let parent = self.into.parent().unwrap_or(&self.into);
        fs::create_dir_all(parent).map_err(io_error(parent))
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> BackupError + use<> {
    let path = path.to_owned();
    move |source| BackupError::Io { path, source }
}

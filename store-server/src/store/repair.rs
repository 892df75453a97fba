//! Saves what can be saved from a damaged data directory, and says what cannot.
//!
//! The state is brought as far as an unbroken run of commits goes: from the view, or from the newest checkpoint,
//! whichever goes further. That state becomes a new checkpoint, the log begins anew behind it, and the damaged log is
//! moved aside, not deleted. The store gets a new incarnation: the answers that the old log remembered are gone, so a
//! client must not repeat a write across it, nor take older revisions for newer ones.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;
use thiserror::Error;

use super::{
    checkpoint::{self, Checkpoint, CheckpointError},
    clock::now_ms,
    datadir::{DataDir, DataDirError, io_error},
    keys,
    open::{self, OldView, OpenError, Replay},
    record::Record,
    view::{Applied, View},
};
use crate::{
    config::{Config, EngineKind},
    engine::{self, Engine, EngineError},
    log::{
        Entry, OnTornTail,
        salvage::{self, Salvage},
        segment::sync_dir,
    },
};

/// What to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct RepairOptions {
    /// Change nothing, only tell.
    pub dry_run: bool,
    /// Discard the view and rebuild it from checkpoint and log.
    pub rebuild_view: bool,
}

/// What was found and done, or in a dry run would be done.
#[derive(Clone, Debug, Serialize)]
pub struct RepairReport {
    /// What is wrong; empty if nothing is.
    pub damage: String,
    /// Where the state comes from.
    pub source: StateSource,
    /// Sequence number of the newest commit that is saved.
    pub saved_seq: u64,
    /// Sequence number of the newest commit that is known to have been acknowledged or written.
    pub newest_seq: u64,
    /// Commits lost: those after `saved_seq`.
    pub lost_commits: u64,
    /// Records that are newer than `saved_seq`, since the view or the checkpoint had them already while the log that they
    /// came with cannot be read. Other records of the same transactions may be missing.
    pub newer_records: u64,
    /// Where the damaged log is now.
    pub log_moved_to: Option<PathBuf>,
    /// Whether the directory was changed.
    pub changed: bool,
}

/// Where a repaired state comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StateSource {
    /// The view, and what follows it in the log.
    View,
    /// The newest checkpoint, or the beginning, and what follows it in the log.
    Checkpoint,
    /// Nothing had to be saved.
    Log,
}

/// Why a repair failed. The directory is as it was, but for the view, which can be rebuilt.
#[derive(Debug, Error)]
pub enum RepairError {
    /// The directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A checkpoint cannot be read or taken.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A commit whose checksum holds makes no sense.
    #[error("commit {seq} cannot be brought in: {detail}")]
    Commit {
        /// Its sequence number.
        seq: u64,
        /// What is wrong with it.
        detail: String,
    },
}

/// Repairs the data directory of `config`. No server may run on it.
pub fn repair(config: &Config, options: RepairOptions) -> Result<RepairReport, RepairError> {
    let mut dir = DataDir::open_existing(&config.data_dir)?;
    let torn = if options.dry_run {
        OnTornTail::Leave
    } else {
        OnTornTail::Cut
    };
    let damage = match open::check_log(&dir, config, torn) {
        Ok(log) => match newest_applied(&dir, config) {
            Some(applied) if applied.seq >= log.next_seq => {
                format!(
                    "the view has commits up to {}, but the log ends with {}",
                    applied.seq,
                    log.next_seq - 1
                )
            }
            _ => return Ok(sound(&dir, config, options, log.next_seq - 1)?),
        },
        Err(OpenError::Damaged { damage, .. }) => damage.to_string(),
        Err(other) => return Err(other.into()),
    };
    let survey = salvage::survey(&dir.log()).map_err(io_error(&dir.log()))?;
    let plan = Plan::make(&dir, config, &survey)?;
    let newest_seq = survey.newest_seq.max(plan.saved_seq);
    let mut report = RepairReport {
        damage,
        source: plan.source,
        saved_seq: plan.saved_seq,
        newest_seq,
        lost_commits: newest_seq - plan.saved_seq,
        newer_records: 0,
        log_moved_to: None,
        changed: !options.dry_run,
    };
    if !options.dry_run {
        // What it writes, an older program does not know.
        dir.raise_format()?;
        report.newer_records = plan.carry_out(&dir, config)?;
        report.log_moved_to = Some(begin_new_log(&dir)?);
    }
    Ok(report)
}

/// The log is sound: at most the view is rebuilt.
fn sound(
    dir: &DataDir,
    config: &Config,
    options: RepairOptions,
    last_seq: u64,
) -> Result<RepairReport, OpenError> {
    if !options.dry_run {
        let old_view = match options.rebuild_view {
            true => OldView::Discard,
            false => OldView::Use,
        };
        open::open(dir, config, old_view)?;
    }
    Ok(RepairReport {
        damage: String::new(),
        source: StateSource::Log,
        saved_seq: last_seq,
        newest_seq: last_seq,
        lost_commits: 0,
        newer_records: 0,
        log_moved_to: None,
        changed: options.rebuild_view && !options.dry_run,
    })
}

/// How a state is saved.
struct Plan {
    source: StateSource,
    base: Option<Checkpoint>,
    saved_seq: u64,
}

impl Plan {
    fn make(dir: &DataDir, config: &Config, survey: &Salvage) -> Result<Plan, RepairError> {
        let found = checkpoint::find(&dir.checkpoint(), dir.identity().store_id)?;
        let from_checkpoint = survey.reach(found.seq());
        let from_view = newest_applied(dir, config).map(|applied| survey.reach(applied.seq));
        let from_view = from_view.filter(|seq| *seq > 0 && *seq >= from_checkpoint);
        match (from_view, found.damaged) {
            (Some(saved_seq), _) => Ok(Plan {
                source: StateSource::View,
                base: None,
                saved_seq,
            }),
            // It may have what nothing else has, and it would be removed.
            (None, Some(error)) => Err(error.into()),
            (None, None) => Ok(Plan {
                source: StateSource::Checkpoint,
                base: found.newest,
                saved_seq: from_checkpoint,
            }),
        }
    }

    /// Brings the view to the saved state, and makes a checkpoint of it. Gives the number of records newer than that.
    fn carry_out(&self, dir: &DataDir, config: &Config) -> Result<u64, RepairError> {
        if self.source != StateSource::Checkpoint {
            return self.fill(dir, config);
        }
        // The view may be all there is, if the checkpoint turns out to be damaged.
        let (view, aside) = (dir.view(), dir.view().with_extension("aside"));
        remove(&aside)?;
        let was_there = view.exists();
        if was_there {
            fs::rename(&view, &aside).map_err(io_error(&view))?;
        }
        let filled = self.fill(dir, config);
        if filled.is_err() && was_there {
            remove(&view)?;
            fs::rename(&aside, &view).map_err(io_error(&view))?;
        }
        remove(&aside)?;
        filled
    }

    /// Brings the view as far as it goes.
    fn fill(&self, dir: &DataDir, config: &Config) -> Result<u64, RepairError> {
        let engine = engine::open(&dir.view(), &config.view)?;
        let applied = match &self.base {
            Some(base) => {
                checkpoint::load(&dir.checkpoint(), base, &engine, config.view.overlay_bytes)?
            }
            None => checkpoint::read_applied(&*engine)?.unwrap_or_default(),
        };
        let view = View::new(engine.clone(), &applied, 0);
        let mut replay = Replay::new(&view, &applied, config.view.overlay_bytes);
        let mut failed = None;
        let read = salvage::read(&dir.log(), applied.seq + 1, self.saved_seq, |seq, bytes| {
            if failed.is_none() {
                failed = bring_in(&mut replay, seq, bytes).err();
            }
        });
        read.map_err(io_error(&dir.log()))?;
        match failed {
            Some(error) => return Err(error),
            None => drop(replay.finish()?),
        }
        let mut applied = Applied {
            seq: self.saved_seq,
            ..view.applied()
        };
        let newer_records = raise_revisions(&*engine, &mut applied)?;
        // What the log said is that of a state that was lost.
        applied.state_hash = None;
        open::mark(&*engine, &applied)?;
        checkpoint::take(&*engine, dir)?;
        Ok(newer_records)
    }
}

/// Lifts each namespace's revision to that of its newest record, so that no revision is given twice. Gives the number of
/// records that were newer.
fn raise_revisions(engine: &dyn Engine, applied: &mut Applied) -> Result<u64, EngineError> {
    let mut newer = 0;
    let before = applied.namespaces.clone();
    for pair in engine.scan(keys::all_records(), false) {
        let (key, value) = pair?;
        let (Some((namespace, ..)), Ok(record)) =
            (keys::split_record(&key), Record::decode(&value))
        else {
            continue;
        };
        if record.mod_rev > before.get(namespace).map_or(0, |ns| ns.revision) {
            newer += 1;
            let entry = applied.namespaces.entry(namespace.to_owned()).or_default();
            entry.revision = entry.revision.max(record.mod_rev);
        }
    }
    Ok(newer)
}

fn bring_in(replay: &mut Replay<'_>, seq: u64, bytes: &[u8]) -> Result<(), RepairError> {
    let commit = |detail| RepairError::Commit { seq, detail };
    let entry = Entry::decode(bytes).map_err(commit)?;
    replay.entry(seq, &entry)?.map_err(commit)
}

/// How far the view is, if it can be opened.
fn newest_applied(dir: &DataDir, config: &Config) -> Option<Applied> {
    if config.view.engine == EngineKind::Memory || !dir.view().exists() {
        return None;
    }
    let engine: Arc<dyn Engine> = engine::open(&dir.view(), &config.view).ok()?;
    checkpoint::read_applied(&*engine).ok()?
}

/// Moves the log aside; the next start begins a new one behind the checkpoint.
fn begin_new_log(dir: &DataDir) -> Result<PathBuf, DataDirError> {
    let log = dir.log();
    let aside = dir.root().join(format!("log-damaged-{}", now_ms()));
    dir.raise_incarnation()?;
    fs::rename(&log, &aside).map_err(io_error(&log))?;
    fs::create_dir(&log)
        .and_then(|()| sync_dir(&log))
        .map_err(io_error(&log))?;
    Ok(aside)
}

fn remove(path: &Path) -> Result<(), DataDirError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io_error(path)(e)),
        _ => Ok(()),
    }
}

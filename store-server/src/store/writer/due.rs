//! What is due between batches: the sync of APPLIED writes, portions for the applier, expiry, housekeeping.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use super::{Batch, FREEZE_AFTER, Writer, commit::CommitOrigin};
use crate::{
    log::{self, Origin},
    store::{
        clock::now_ms,
        draft::{Accepted, Draft},
        expiry,
        shared::{Counters, Shared},
    },
};

/// A portion of this size is handed to the applier at once: large, as what is written twice meanwhile goes to the engine
/// once, and neighbours go together ...
const FREEZE_BYTES: usize = 16 << 20;

/// ... but at the latest when it fills this part of the room for such records, so that the next has room too. (A smaller one
/// goes after [`FREEZE_AFTER`].)
const FREEZE_PART: usize = 4;

/// How long records whose time is up may be kept so that they expire together.
const EXPIRE_EVERY_MS: u64 = 50;

/// How often the housekeeping is done.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(1);

impl Writer {
    pub(super) fn do_due(&mut self) {
        let now = Instant::now();
        if self.log_failed {
            // A store whose log failed does nothing more to it.
            self.due.sync = None;
        } else if self.due.sync.is_some_and(|due| due <= now) {
            if self.sync().is_err() {
                return;
            }
            self.tell_watches();
        }
        if self.due.expiry().is_some_and(|due_ms| due_ms <= now_ms()) {
            self.expire();
        }
        let view = &self.shared.view;
        let active_bytes = view.read().active_bytes();
        let overlay_bytes = self.shared.config.view.overlay_bytes;
        if active_bytes >= FREEZE_BYTES.min(overlay_bytes / FREEZE_PART)
            || self.due.freeze.is_some_and(|due| due <= now)
        {
            self.hand_over();
        }
        if active_bytes > overlay_bytes {
            self.wait_for_applier();
        }
        if self.due.housekeeping <= now {
            self.due.housekeeping = now + HOUSEKEEPING_EVERY;
            self.housekeeping();
        }
    }

    /// Hands what was published to the applier, unless it is busy. What is not synced yet must be first: the engine may
    /// never be ahead of the log.
    pub(super) fn hand_over(&mut self) {
        self.due.freeze = Some(Instant::now() + FREEZE_AFTER);
        if self.shared.gate.has_failed() || self.applier.is_busy() || self.sync().is_err() {
            return;
        }
        self.tell_watches();
        match self.shared.view.freeze() {
            Some(frozen) => self.applier.start(frozen),
            None => self.due.freeze = None,
        }
    }

    /// Too much waits in memory for the engine: so writes wait too.
    fn wait_for_applier(&mut self) {
        while self.shared.view.read().active_bytes() > self.shared.config.view.overlay_bytes
            && !self.shared.gate.has_failed()
        {
            self.applier.wait();
            self.hand_over();
        }
    }

    /// Deletes what has expired, as ordinary commits, one per namespace.
    fn expire(&mut self) {
        let now_ms = now_ms();
        if self.shared.gate.check().is_err() {
            self.due.expiry_ms = Some(now_ms + 1000);
            return;
        }
        let due = match expiry::due(&self.shared.view, now_ms) {
            Ok(due) => due,
            Err(error) => return self.shared.gate.fail(error.message),
        };
        self.due.expiry_ms = due.next_ms;
        // More are due than one commit takes: go on behind the writes that wait.
        let more = due.next_ms.is_some_and(|due_ms| due_ms <= now_ms);
        self.due.expire_from_ms = now_ms + if more { 0 } else { EXPIRE_EVERY_MS };
        let mut batch = Batch {
            needs_sync: true,
            own_keys: due.index_keys,
            ..Batch::default()
        };
        self.frame.begin(self.appender.next_seq());
        for (namespace, expired) in due.by_namespace {
            let source = Accepted {
                view: &self.shared.view,
                pending: &batch.pending,
            };
            let mut draft = Draft::new(&source, &namespace);
            let deleted: Result<Vec<_>, _> = expired.iter().map(|key| draft.delete(key)).collect();
            if let Err(error) = deleted {
                return self.shared.gate.fail(error.message);
            }
            let revision = draft.revision;
            let changes: Vec<_> = draft.into_changes().collect();
            Counters::add(&self.shared.counters.expired, changes.len());
            let origin = CommitOrigin {
                origin: Origin::Expiry,
                principal: "",
                session: "",
                writer: None,
                once: &[],
            };
            self.accept(
                &mut batch,
                &namespace,
                revision,
                changes,
                &origin,
                &[],
                now_ms,
            );
        }
        // A failure has closed the gate, and nobody waits for an answer.
        let _ = self.commit(batch, now_ms);
    }

    fn housekeeping(&mut self) {
        let now_ms = now_ms();
        self.dedup.forget_silent();
        self.shared.gate.set_disk(disk_is_full(&self.shared));
        let config = &self.shared.config.log;
        let checkpoint = &self.shared.checkpoint;
        let checkpoint_seq = self.shared.checkpoint_seq.load(Ordering::Acquire);
        let has_everything = checkpoint_seq >= self.shared.synced_seq.load(Ordering::Acquire);
        let is_due = self.appended_bytes >= self.checkpoint_at_bytes
            || checkpoint.is_due(config.checkpoint_secs, has_everything);
        if is_due && checkpoint.start(&self.shared) {
            self.checkpoint_at_bytes = self.appended_bytes + config.checkpoint_bytes;
        }
        let retention = log::retention::Retention {
            bytes: config.retention_bytes,
            older_than_ms: now_ms.saturating_sub(config.retention_secs.saturating_mul(1000)),
            keep_since_ms: now_ms.saturating_sub(self.dedup.window_ms()),
            // The next start needs what the engine does not have, or it would rebuild the view.
            checkpoint_seq: checkpoint_seq.min(self.shared.applied_seq.load(Ordering::Acquire)),
            watched_seq: self.shared.feed.read_seq(),
        };
        match log::retention::trim(self.appender.segments(), &retention) {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "removed old log segments"),
            Err(error) => tracing::warn!(%error, "cannot remove an old log segment"),
        }
    }
}

/// Why no writes may be taken: the log would soon be cut off in the middle of a write.
fn disk_is_full(shared: &Shared) -> Option<String> {
    let reserve = shared.config.log.disk_reserve_bytes;
    let stat = rustix::fs::statvfs(shared.dir.root()).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    (free < reserve).then(|| {
        format!(
            "the disk of {} has {free} bytes free, less than the reserve of {reserve} (log.disk_reserve_bytes): make \
             room, and writes go on by themselves",
            shared.dir.root().display()
        )
    })
}

//! From an accepted write to one that is durable and readable.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use stillpoint_proto::v1::{Reason, StoreError};

use super::{Batch, FREEZE_AFTER, Writer};
use crate::{
    log::{Change, Entry, Origin, entry::Writer as EntryWriter},
    store::{
        draft::Changed,
        feed,
        index::Notice,
        keys::{self, System},
        record::Record,
        request::WriterKey,
        shared::Counters,
    },
};

/// A frame that has more bytes is appended, and the batch goes on in another. The batch takes no more jobs then.
const FRAME_BYTES_MAX: usize = 16 << 20;

/// Who made a commit.
pub(super) struct CommitOrigin<'a> {
    pub origin: Origin,
    /// The operator that the store made it for, as they call themselves; else empty.
    pub principal: &'a str,
    pub session: &'a str,
    pub writer: Option<&'a WriterKey>,
    pub once: &'a [u8],
}

impl Writer {
    /// Adds a commit to the frame and to what later writes of the batch see.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a commit; a struct would be made and taken apart once"
    )]
    pub(super) fn accept(
        &mut self,
        batch: &mut Batch,
        namespace: &Arc<str>,
        revision: u64,
        changes: Vec<(Bytes, Changed)>,
        origin: &CommitOrigin<'_>,
        reply: &[u8],
        now_ms: u64,
    ) {
        let gained = |c: &Changed| i64::from(c.after.is_some()) - i64::from(c.before.is_some());
        let clients = changes
            .iter()
            .filter(|(key, _)| keys::split_system(key).is_none());
        let records_delta = clients.map(|(_, c)| gained(c)).sum();
        for (key, changed) in &changes {
            if let Some(before) = &changed.before {
                self.state_hash.remove(key, before);
            }
            if let Some(after) = &changed.after {
                self.state_hash.add(key, after);
            }
        }
        let state_hash = self.state_hash.to_bytes();
        let entry = Entry {
            namespace,
            revision,
            incarnation: self.shared.dir.identity().incarnation,
            time_ms: now_ms,
            origin: origin.origin,
            principal: origin.principal,
            session: origin.session,
            writer: origin.writer.map(|w| EntryWriter {
                id: &w.id,
                sequence: w.sequence,
                first_incomplete: w.first_incomplete,
            }),
            records_delta,
            changes: changes
                .iter()
                .filter_map(|(key, c)| log_change(key, c))
                .collect(),
            reply,
            once: origin.once,
            state_hash: &state_hash,
        };
        self.frame.push(|out| entry.encode(out));
        if self.shared.feed.is_wanted() {
            let clients = changes
                .iter()
                .filter(|(key, _)| keys::split_system(key).is_none());
            self.untold.push(Arc::new(feed::Commit {
                seq: self.appender.next_seq() + u64::from(self.frame.count()) - 1,
                namespace: namespace.clone(),
                revision,
                time_ms: now_ms,
                origin: origin.origin,
                session: origin.session.into(),
                changes: clients
                    .map(|(key, c)| (key.clone(), c.after.as_ref().map(Record::detached)))
                    .collect(),
            }));
        }
        let known = batch.pending.namespaces.get(namespace).copied();
        let mut state = known.unwrap_or_else(|| self.shared.view.read().namespace(namespace));
        state.revision = revision;
        state.records = state.records.saturating_add_signed(records_delta);
        batch.pending.namespaces.insert(namespace.clone(), state);
        for (key, changed) in changes {
            self.schedule_expiry(batch, &key, &changed);
            match self.index.apply(&key, changed.after.as_ref()) {
                Ok(None) => {}
                Ok(Some(notice)) => {
                    batch.notices.push(notice);
                    batch.indexed.push((key.clone(), changed.after.clone()));
                }
                // It was encoded a moment ago.
                Err(error) => self.shared.gate.fail(error),
            }
            self.follow_schema(batch, &key, changed.after.as_ref());
            batch.pending.records.insert(key, changed.after);
        }
        batch.commits += 1;
        if self.frame.len_bytes() >= FRAME_BYTES_MAX {
            batch.failed = self.append(now_ms).err();
        }
    }

    /// Keeps scripts and versions in step with a change: what comes later in the batch is written in the new version.
    fn follow_schema(&mut self, batch: &mut Batch, key: &Bytes, after: Option<&Record>) {
        let Some((_, System::Script | System::Schema, _)) = keys::split_system(key) else {
            return;
        };
        batch.is_schema_changed = true;
        if let Err(error) = Arc::make_mut(&mut self.schemas).apply(key, after) {
            self.shared.gate.fail(error);
        }
    }

    /// Keeps the expiry keys in step with a change.
    fn schedule_expiry(&mut self, batch: &mut Batch, key: &Bytes, changed: &Changed) {
        let expires_at_ms = |r: &Option<Record>| r.as_ref().map_or(0, |r| r.expires_at_ms);
        let (before, after) = (
            expires_at_ms(&changed.before),
            expires_at_ms(&changed.after),
        );
        if before == after {
            return;
        }
        if before > 0 {
            batch.own_keys.push((keys::expiry(before, key), None));
        }
        if after > 0 {
            let key = keys::expiry(after, key);
            batch.own_keys.push((key, Some(Bytes::new())));
            self.due.expires(after);
        }
    }

    /// Appends the frame, and begins the next.
    fn append(&mut self, now_ms: u64) -> Result<(), StoreError> {
        if self.frame.count() > 0 {
            self.appended_bytes += self.frame.len_bytes() as u64;
            (self.appender.append(&mut self.frame, now_ms))
                .map_err(|e| self.failed("append to the log", &e))?;
            self.frame.begin(self.appender.next_seq());
            self.due.sync.get_or_insert_with(|| {
                Instant::now() + Duration::from_millis(self.shared.config.log.applied_sync_ms)
            });
        }
        Ok(())
    }

    /// Makes a batch durable, as far as it asks for it, and readable.
    pub(super) fn commit(&mut self, batch: Batch, now_ms: u64) -> Result<(), StoreError> {
        if let Some(error) = batch.failed {
            return Err(error);
        }
        self.append(now_ms)?;
        if batch.needs_sync {
            self.sync()?;
        }
        if batch.commits > 0 || !batch.own_keys.is_empty() {
            // Encoded before readers are locked out.
            let records = batch.pending.records.into_iter();
            let mut changes: Vec<_> = records.map(|(k, r)| (k, r.map(|r| r.encode()))).collect();
            changes.extend(batch.own_keys);
            let last_seq = self.appender.next_seq() - 1;
            let namespaces = batch.pending.namespaces;
            let state_hash = Some(self.state_hash);
            if batch.is_schema_changed {
                // Before the view: nobody may read a record of a version that he does not know.
                self.shared.schemas.publish(self.schemas.clone());
            }
            (self.shared.view).publish(changes, namespaces, last_seq, state_hash);
            self.publish_index(batch.indexed, batch.notices);
            Counters::add(&self.shared.counters.commits, batch.commits);
            self.due
                .freeze
                .get_or_insert_with(|| Instant::now() + FREEZE_AFTER);
        }
        self.tell_watches();
        Ok(())
    }

    fn publish_index(&self, indexed: Vec<(Bytes, Option<Record>)>, notices: Vec<Notice>) {
        if indexed.is_empty() {
            return;
        }
        let mut index = self.shared.index.write();
        for (key, after) in indexed {
            if let Err(error) = index.apply(&key, after.as_ref()) {
                self.shared.gate.fail(error);
            }
        }
        drop(index);
        for notice in notices {
            // Without a service nobody listens.
            let _ = self.shared.notices.send(notice);
        }
    }

    /// Watches hear of commits that are durable and readable. What a failed log has is neither for certain.
    pub(super) fn tell_watches(&mut self) {
        if self.log_failed {
            self.untold.clear();
        } else if self.due.sync.is_none() {
            let commits = std::mem::take(&mut self.untold);
            self.shared
                .feed
                .publish(commits, self.appender.synced_seq());
        }
    }

    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        if self.due.sync.take().is_some() {
            self.appender
                .sync()
                .map_err(|e| self.failed("sync the log", &e))?;
            Counters::add(&self.shared.counters.syncs, 1);
            self.shared
                .synced_seq
                .store(self.appender.synced_seq(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// After a failed write or fsync nobody knows what is on disk: stop writing for good, never try again.
    fn failed(&mut self, what: &str, error: &std::io::Error) -> StoreError {
        self.log_failed = true;
        self.shared.gate.fail(format!(
            "cannot {what}: {error}; reads go on, mend the disk and restart the server"
        ));
        let mut error = StoreError::new(Reason::ReadOnly, self.shared.gate.reason());
        error.maybe_applied = true;
        error
    }
}

fn log_change<'a>(key: &'a Bytes, changed: &'a Changed) -> Option<Change<'a>> {
    let (_, collection, key) = keys::split_record(key)?;
    Some(Change {
        collection,
        key,
        written: changed.after.as_ref().map(|record| record.to_log()),
    })
}

//! Where in the log a revision of a namespace is.

use std::{
    collections::{HashMap, HashSet},
    ops::ControlFlow,
    sync::Arc,
};

use parking_lot::Mutex;

use crate::log::{
    Entry, Segments,
    reader::{ReadError, Reader},
    segment::SegmentInfo,
};

/// The first and last revision that a segment has of each namespace.
type OfSegment = HashMap<Box<str>, (u64, u64)>;

/// What was found out about sealed segments, by their first sequence numbers. They are looked at when they are first asked
/// for.
#[derive(Debug, Default)]
pub struct Revisions(Mutex<HashMap<u64, Arc<OfSegment>>>);

impl Revisions {
    /// The sequence number of a revision, at most `synced_seq`; `None`: the log does not have it. Reads files.
    pub fn find(
        &self,
        segments: &Segments,
        synced_seq: u64,
        namespace: &str,
        revision: u64,
    ) -> Result<Option<u64>, ReadError> {
        let list = segments.snapshot();
        self.forget_removed(&list);
        for (back, info) in list.iter().rev().enumerate() {
            let last_seq = info.last_seq.min(synced_seq);
            let known = match back {
                // It is being written.
                0 => Arc::new(look(segments, info, last_seq)?),
                _ => self.of_sealed(segments, info)?,
            };
            match known.get(namespace) {
                Some((first, last)) if (*first..=*last).contains(&revision) => {
                    return seq_of(segments, info, last_seq, namespace, revision);
                }
                _ => {}
            }
        }
        Ok(None)
    }

    fn of_sealed(
        &self,
        segments: &Segments,
        info: &SegmentInfo,
    ) -> Result<Arc<OfSegment>, ReadError> {
        if let Some(known) = self.0.lock().get(&info.first_seq) {
            return Ok(known.clone());
        }
        let found = Arc::new(look(segments, info, info.last_seq)?);
        self.0.lock().insert(info.first_seq, found.clone());
        Ok(found)
    }

    fn forget_removed(&self, list: &[SegmentInfo]) {
        let there: HashSet<u64> = list.iter().map(|info| info.first_seq).collect();
        self.0.lock().retain(|seq, _| there.contains(seq));
    }
}

fn look(segments: &Segments, info: &SegmentInfo, last_seq: u64) -> Result<OfSegment, ReadError> {
    let mut found = OfSegment::new();
    for_each(segments, info, last_seq, |_, namespace, revision| {
        match found.get_mut(namespace) {
            Some((_, last)) => *last = revision,
            None => drop(found.insert(namespace.into(), (revision, revision))),
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

fn seq_of(
    segments: &Segments,
    info: &SegmentInfo,
    last_seq: u64,
    namespace: &str,
    revision: u64,
) -> Result<Option<u64>, ReadError> {
    let mut found = None;
    for_each(segments, info, last_seq, |seq, of, at| {
        if of == namespace && at == revision {
            found = Some(seq);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// Calls `each` with sequence number, namespace and revision of the entries of a segment, until it breaks.
fn for_each(
    segments: &Segments,
    info: &SegmentInfo,
    last_seq: u64,
    mut each: impl FnMut(u64, &str, u64) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    let mut reader = Reader::default();
    let mut seen_seq = info.first_seq - 1;
    let mut stopped = false;
    while seen_seq < last_seq && !stopped {
        reader.read(segments, seen_seq, last_seq, |seq, bytes| {
            seen_seq = seq;
            // An entry that cannot be read is none that is looked for; who reads it as a whole says so.
            let flow = match Entry::peek(bytes) {
                Ok((namespace, revision)) => each(seq, namespace, revision),
                Err(_) => ControlFlow::Continue(()),
            };
            stopped |= flow.is_break();
            flow
        })?;
    }
    Ok(())
}

//! Puts what is to be told into messages of a bounded size.

use std::collections::BTreeMap;

use bytes::Bytes;
use stillpoint_proto::v1::{
    ResyncData, WatchCommit, WatchCommits, WatchEvent, WatchEventType, watch_response::Kind,
};

use crate::store::feed::{Pages, Position, Tell};

/// A message, and where to go on after it.
#[derive(Debug)]
pub struct Packed {
    /// The message.
    pub kind: Kind,
    /// Where to go on after it.
    pub position: Position,
}

/// About what a commit costs in a message beside its events, and an event beside its key and value.
const ENTRY_BYTES: usize = 64;

/// Packs commits, the last of which leaves the watch at `end`. A commit that does not fit into one message is split; as
/// long as it is not told wholly, to go on is to go back before it.
pub fn commits(tells: Vec<Tell>, end: Position, bytes_max: usize) -> Vec<Packed> {
    let mut packing = Packing {
        done: Vec::new(),
        commits: Vec::new(),
        bytes: 0,
        bytes_max,
    };
    for tell in tells {
        let mut part = WatchCommit {
            revision: tell.revision,
            time_ms: tell.time_ms,
            session_id: tell.session.to_string(),
            ..WatchCommit::default()
        };
        for (_, event) in tell.events {
            let bytes = event_bytes(&event);
            if packing.is_full(bytes, &part) {
                packing.flush(&mut part, tell.before);
            }
            packing.bytes += bytes;
            part.events.push(event);
        }
        packing.bytes += ENTRY_BYTES;
        packing.commits.push(part);
    }
    packing.finish(end)
}

struct Packing {
    done: Vec<Packed>,
    commits: Vec<WatchCommit>,
    bytes: usize,
    bytes_max: usize,
}

impl Packing {
    /// Whether an event more does not fit into the message, of which `part` is the last commit.
    fn is_full(&self, bytes: usize, part: &WatchCommit) -> bool {
        let is_empty = self.commits.is_empty() && part.events.is_empty();
        !is_empty && self.bytes + bytes > self.bytes_max
    }

    /// Ends a message with a part of a commit, if there is one yet.
    fn flush(&mut self, part: &mut WatchCommit, position: Position) {
        if !part.events.is_empty() {
            let events = std::mem::take(&mut part.events);
            self.commits.push(WatchCommit {
                events,
                more: true,
                ..part.clone()
            });
        }
        let commits = std::mem::take(&mut self.commits);
        self.bytes = 0;
        self.done.push(Packed {
            kind: Kind::Commits(WatchCommits { commits }),
            position,
        });
    }

    fn finish(mut self, end: Position) -> Vec<Packed> {
        if !self.commits.is_empty() {
            self.flush(&mut WatchCommit::default(), end);
        }
        self.done
    }
}

/// Packs the states of records that changed since the pages that told them, each as it is after the last of these
/// commits.
pub fn changed(tells: Vec<Tell>, pages: &Pages, bytes_max: usize) -> Vec<Kind> {
    let mut states: BTreeMap<Bytes, WatchEvent> = BTreeMap::new();
    for tell in tells {
        for (view_key, mut event) in tell.events {
            event.r#type = match event.record {
                Some(_) => WatchEventType::Put,
                None => WatchEventType::Delete,
            }
            .into();
            if !pages.have(&view_key, tell.revision) {
                states.insert(view_key, event);
            }
        }
    }
    data(states.into_values(), bytes_max)
}

/// Packs states of records.
pub fn data(events: impl IntoIterator<Item = WatchEvent>, bytes_max: usize) -> Vec<Kind> {
    let mut messages: Vec<ResyncData> = Vec::new();
    let mut room = 0;
    for event in events {
        let bytes = event_bytes(&event);
        match messages.last_mut() {
            Some(message) if bytes <= room => {
                message.events.push(event);
                room -= bytes;
            }
            _ => {
                messages.push(ResyncData {
                    events: vec![event],
                });
                room = bytes_max.saturating_sub(bytes);
            }
        }
    }
    messages.into_iter().map(Kind::ResyncData).collect()
}

fn event_bytes(event: &WatchEvent) -> usize {
    let key = event
        .key
        .as_ref()
        .map_or(0, |key| key.collection.len() + key.key.len());
    let record = event.record.as_ref();
    let value = record.map_or(0, |record| record.value.len() + record.unreadable.len());
    ENTRY_BYTES + key + value
}

//! The watches and what they have for their takers.

use std::{collections::VecDeque, task::Waker};

use prost::Message;
use rustc_hash::FxHashMap;
use stillpoint_proto::v1::{WatchResponse, watch_response::Kind};
use tokio::task::AbortHandle;

use super::{Ledger, Want};
use crate::{Event, error, watch::Heard};

/// All open watches, by their ids, which are shared with nothing else.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    open: FxHashMap<u64, Watch>,
    last_id: u64,
    bytes_max: usize,
}

/// One watch. Its queue is bounded: where it is full, the task stops reading, and the store has to wait.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    queue: VecDeque<Heard>,
    bytes: usize,
    /// That it has messages is among the events, or was told.
    is_told: bool,
    /// Reads its stream. Ends with the watch.
    task: Option<AbortHandle>,
    /// Wakes the task once there is room.
    room: Option<Waker>,
}

impl Watches {
    /// Ids come after `last_id`; each watch keeps up to so many bytes.
    pub fn new(last_id: u64, bytes_max: usize) -> Self {
        Watches {
            last_id,
            bytes_max: bytes_max.max(1),
            ..Watches::default()
        }
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// A new watch.
    pub fn open(&mut self) -> u64 {
        self.last_id += 1;
        self.open.insert(self.last_id, Watch::default());
        self.last_id
    }

    /// The task that reads its stream.
    pub fn set_task(&mut self, id: u64, task: AbortHandle) {
        match self.open.get_mut(&id) {
            Some(watch) => watch.task = Some(task),
            None => task.abort(),
        }
    }

    /// Whether the task may read another message; if not, it is woken once it may.
    pub fn has_room(&mut self, id: u64, task: &Waker) -> bool {
        let Some(watch) = self.open.get_mut(&id) else {
            return false;
        };
        let has_room = watch.bytes < self.bytes_max;
        watch.room = (!has_room).then(|| task.clone());
        has_room
    }

    /// Whether there is something to take.
    pub fn is_ready(&self, id: u64) -> bool {
        self.open.get(&id).is_none_or(|w| !w.queue.is_empty())
    }

    /// Ends all of them; what they had can still be taken.
    pub fn close(&mut self) -> Vec<u64> {
        for watch in self.open.values_mut() {
            if let Some(task) = watch.task.take() {
                task.abort();
            }
        }
        self.open.keys().copied().collect()
    }
}

impl Ledger {
    /// A watch has heard something.
    pub fn watch_heard(&mut self, id: u64, heard: Heard) {
        let Some(watch) = self.watches.open.get_mut(&id) else {
            return;
        };
        // A bookmark says how far the watch got, so the newest is enough.
        if is_bookmark(&heard)
            && let Some(last) = watch.queue.back_mut()
            && is_bookmark(last)
        {
            watch.bytes = watch.bytes - bytes_of(last) + bytes_of(&heard);
            *last = heard;
            return;
        }
        watch.bytes += bytes_of(&heard);
        watch.queue.push_back(heard);
        if !std::mem::replace(&mut watch.is_told, true) {
            self.tell(Event::Watch(id));
        }
        self.waiters.wake(|want| want == Want::Watch(id));
    }

    /// What a watch has next; an error is its end. One that is not open has the error that it is over.
    pub fn watch_take(&mut self, id: u64) -> Option<Heard> {
        let Some(watch) = self.watches.open.get_mut(&id) else {
            return Some(Err(error::watch_over()));
        };
        let heard = watch.queue.pop_front()?;
        watch.bytes -= bytes_of(&heard);
        if watch.bytes < self.watches.bytes_max
            && let Some(room) = watch.room.take()
        {
            room.wake();
        }
        if watch.queue.is_empty() {
            watch.is_told = false;
            self.untell_watch(id);
        }
        if heard.is_err() {
            self.unwatch(id);
        }
        Some(heard)
    }

    /// Ends a watch.
    pub fn unwatch(&mut self, id: u64) {
        let Some(watch) = self.watches.open.remove(&id) else {
            return;
        };
        if let Some(task) = watch.task {
            task.abort();
        }
        self.untell_watch(id);
        self.attend();
        self.waiters.wake(|want| want == Want::Watch(id));
    }
}

fn is_bookmark(heard: &Heard) -> bool {
    let kind = heard
        .as_ref()
        .ok()
        .and_then(|message| message.kind.as_ref());
    matches!(kind, Some(Kind::Bookmark(_)))
}

/// Bytes it takes in memory, about.
fn bytes_of(heard: &Heard) -> usize {
    size_of::<WatchResponse>() + heard.as_ref().map_or(0, Message::encoded_len)
}

#[cfg(test)]
mod tests {
    use stillpoint_proto::v1::{WatchBookmark, WatchStarted};

    use super::*;
    use crate::Config;

    fn ledger(watch_bytes_max: usize) -> Ledger {
        let config = Config {
            watch_bytes_max,
            ..Config::new("unix:s", "world1")
        };
        let mut ledger = Ledger::new(&config, 0);
        ledger.events.want();
        ledger
    }

    fn bookmark(position: &'static str) -> Heard {
        Ok(WatchResponse {
            position: position.into(),
            kind: Some(Kind::Bookmark(WatchBookmark {})),
            ..Default::default()
        })
    }

    fn started() -> Heard {
        Ok(WatchResponse {
            kind: Some(Kind::Started(WatchStarted {})),
            ..Default::default()
        })
    }

    #[test]
    fn of_bookmarks_that_wait_only_the_newest_is_kept() {
        let mut ledger = ledger(1000);
        let id = ledger.watches.open();
        for heard in [bookmark("a"), bookmark("bb"), started(), bookmark("c")] {
            ledger.watch_heard(id, heard);
        }
        assert_eq!(ledger.watch_take(id), Some(bookmark("bb")));
        assert_eq!(ledger.watch_take(id), Some(started()));
        assert_eq!(ledger.watch_take(id), Some(bookmark("c")));
        assert_eq!(ledger.watch_take(id), None);
        assert_eq!(ledger.watches.open[&id].bytes, 0);
    }

    #[test]
    fn a_full_watch_has_room_again_once_something_was_taken() {
        let mut ledger = ledger(1);
        let id = ledger.watches.open();
        let task = Waker::noop();
        assert!(ledger.watches.has_room(id, task));
        ledger.watch_heard(id, started());
        assert!(!ledger.watches.has_room(id, task));
        ledger.watch_take(id);
        assert!(ledger.watches.has_room(id, task));
    }

    #[test]
    fn an_event_says_once_that_there_is_something_until_all_was_taken() {
        let mut ledger = ledger(1000);
        let id = ledger.watches.open();
        ledger.watch_heard(id, started());
        ledger.watch_heard(id, started());
        assert_eq!(ledger.news(), 1);
        assert_eq!(ledger.next_event(), Some(Event::Watch(id)));
        ledger.watch_take(id);
        ledger.watch_heard(id, started());
        assert_eq!(ledger.news(), 0, "not all was taken");
        ledger.watch_take(id);
        ledger.watch_take(id);
        ledger.watch_heard(id, started());
        assert_eq!(ledger.news(), 1);
        ledger.unwatch(id);
        assert_eq!(ledger.news(), 0);
    }
}

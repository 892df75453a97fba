//! What `Client::event` has to tell, in order.

use std::collections::VecDeque;

use crate::Event;

/// Bytes of events beyond which notices are left with the server until some were taken.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// The events that are not told yet.
#[derive(Debug, Default)]
pub(crate) struct Events {
    queue: VecDeque<Event>,
    bytes: usize,
    /// Somebody takes them. Tools that never do are not told, or `poll` would never wait for them again.
    is_wanted: bool,
}

impl Events {
    /// From now on events are kept.
    pub fn want(&mut self) {
        self.is_wanted = true;
    }

    /// One more to tell. Of those that say how things are now, only the newest is kept.
    pub fn push(&mut self, event: Event) {
        if !self.is_wanted {
            return;
        }
        if let Event::Reconnected | Event::Restored { .. } = event {
            let kind = std::mem::discriminant(&event);
            self.drop_where(|other| std::mem::discriminant(other) == kind);
        }
        self.bytes += event.bytes();
        self.queue.push_back(event);
    }

    /// The next to tell.
    pub fn pop(&mut self) -> Option<Event> {
        let event = self.queue.pop_front()?;
        self.bytes -= event.bytes();
        Some(event)
    }

    /// That a watch has messages is not so any more.
    pub fn withdraw(&mut self, watch: u64) {
        self.drop_where(|event| *event == Event::Watch(watch));
    }

    /// Nobody waits any more for an answer to the commands that are not told yet.
    pub fn withdraw_commands(&mut self) {
        self.drop_where(|event| matches!(event, Event::Command(_)));
    }

    /// How many there are to tell.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether there is no room for another notice.
    pub fn is_full(&self) -> bool {
        self.bytes >= BYTES_MAX
    }

    fn drop_where(&mut self, is_void: impl Fn(&Event) -> bool) {
        let bytes = &mut self.bytes;
        self.queue.retain(|event| {
            let drops = is_void(event);
            if drops {
                *bytes -= event.bytes();
            }
            !drops
        });
    }
}

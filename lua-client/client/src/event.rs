//! What a client is told without having asked.

use std::mem::size_of;

use prost::Message;
use stillpoint_proto::v1;

/// Something that happened. Each is told once, by [`Client::event`](crate::Client::event).
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Another session waits for a record that this one owns.
    ReleaseWanted(v1::ReleaseWanted),
    /// A record was taken from this session.
    ClaimLost(v1::ClaimLost),
    /// A timer fires.
    TimerFired(v1::TimerFired),
    /// The server stops, and will be back.
    ShuttingDown(v1::ShuttingDown),
    /// An operator asks something of this process.
    Command(v1::Command),
    /// An operator tells something.
    Notice(v1::OperatorNotice),
    /// The session is another process's now, or over. The last word on it.
    Fenced(v1::Fenced),
    /// The connection stands again after a loss.
    Reconnected,
    /// The store is another one than before, or an older state of it: what was read from it is void.
    Restored {
        /// The store's incarnation now.
        incarnation: u64,
    },
    /// This watch has messages to take. Told again only after they were taken.
    Watch(u64),
}

impl Event {
    /// Bytes it takes in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        let message_bytes = match self {
            Event::ReleaseWanted(notice) => notice.encoded_len(),
            Event::ClaimLost(notice) => notice.encoded_len(),
            Event::TimerFired(notice) => notice.encoded_len(),
            Event::ShuttingDown(notice) => notice.encoded_len(),
            Event::Command(command) => command.encoded_len(),
            Event::Notice(notice) => notice.encoded_len(),
            Event::Fenced(notice) => notice.encoded_len(),
            Event::Reconnected | Event::Restored { .. } | Event::Watch(_) => 0,
        };
        size_of::<Event>() + message_bytes
    }
}

//! What operators have asked of holders and have not heard the end of.
//!
//! What is asked stands with the holder's Attach stream: when that ends, or has a successor, everything asked through it
//! ends with it, and who waits sees that at once. What somebody has to say is kept, not queued: of several words about
//! how far it is only the newest counts, so that a holder that talks a lot costs no memory.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use stillpoint_proto::v1::{
    Command, CommandAnswer, CommandError, OperatorNotice, command_answer::Kind,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot, watch},
    time::timeout,
};

use super::{
    SessionKey,
    hub::Hub,
    presence::{Attached, Message},
};

/// What is asked.
#[derive(Debug)]
pub enum Asked {
    /// To run a command, and to answer it.
    Command(Command),
    /// To take note of something.
    Notice(OperatorNotice),
}

/// What was heard of something asked.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// The process has it.
    pub delivered: bool,
    /// How often it has said how far it is.
    pub progress: u64,
    /// What it said last of that.
    pub said: String,
    /// How it ended.
    pub end: Option<Result<Bytes, CommandError>>,
}

/// Room for one thing asked; taken until the end was heard, or nobody waits for it, and the holder's stream has it.
#[derive(Clone, Debug)]
pub struct Room(#[expect(dead_code, reason = "held, not looked at")] Arc<OwnedSemaphorePermit>);

/// What is asked through one Attach stream.
#[derive(Debug)]
pub struct Open {
    asked: HashMap<u64, Entry>,
    room: Arc<Semaphore>,
}

#[derive(Debug)]
struct Entry {
    heard: watch::Sender<Heard>,
    _room: Room,
}

/// Why something cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The holder is not there.
    Absent,
    /// Too much is asked of it already.
    Full,
    /// It does not read what it is told, and was cut off.
    Deaf,
}

/// The place of one who waits for what comes of something asked. When it is dropped, nobody does.
#[derive(Debug)]
pub struct Line {
    hub: Arc<Hub>,
    key: SessionKey,
    stream: u64,
    id: u64,
    /// What was heard. Ends without an end when the holder's stream does.
    pub heard: watch::Receiver<Heard>,
}

/// A holder that closes its session is waited for so long, until what it has answered before is heard: one that does not
/// read what it is told is not heard either.
const HEAR_OUT: Duration = Duration::from_millis(500);

/// Most bytes of a text that is kept of an answer: how far it is, what failed.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// The same of a traceback.
const TRACEBACK_BYTES_MAX: usize = 64 << 10;

impl Open {
    /// Nothing yet, and room for so much.
    pub fn new(limit: usize) -> Open {
        Open {
            asked: HashMap::new(),
            room: Arc::new(Semaphore::new(limit)),
        }
    }

    fn enter(&mut self, id: u64) -> Option<(Room, watch::Receiver<Heard>)> {
        let permit = match self.room.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => return None,
        };
        let room = Room(Arc::new(permit));
        let (heard, receiver) = watch::channel(Heard::default());
        let entry = Entry {
            heard,
            _room: room.clone(),
        };
        self.asked.insert(id, entry);
        Some((room, receiver))
    }

    /// The holder says something. What nobody waits for is not heard.
    pub fn answered(&mut self, id: u64, kind: Kind) {
        let ends = matches!(kind, Kind::Value(_) | Kind::Error(_));
        let Some(entry) = self.asked.get(&id) else {
            return;
        };
        entry.heard.send_modify(|heard| match kind {
            Kind::Delivered(_) => heard.delivered = true,
            Kind::Progress(text) => {
                heard.delivered = true;
                heard.progress += 1;
                heard.said = shortened(text, TEXT_BYTES_MAX);
            }
            Kind::Value(value) => heard.end = Some(Ok(value)),
            Kind::Error(error) => {
                heard.end = Some(Err(CommandError {
                    message: shortened(error.message, TEXT_BYTES_MAX),
                    traceback: shortened(error.traceback, TRACEBACK_BYTES_MAX),
                    unknown: error.unknown,
                }));
            }
        });
        if ends {
            self.asked.remove(&id);
        }
    }
}

impl Hub {
    /// Asks something of the holder that a session has with this fence; `what` gets its number.
    pub fn ask(
        self: &Arc<Self>,
        key: &SessionKey,
        fence: u64,
        what: impl FnOnce(u64) -> Asked,
    ) -> Result<Line, Refused> {
        let mut state = self.state.lock();
        state.asked += 1;
        let id = state.asked;
        let presence = state.presences.get_mut(key);
        let held = presence.filter(|presence| presence.session.fence == fence);
        let attached = held.and_then(|presence| presence.attached_mut());
        let attached = attached.ok_or(Refused::Absent)?;
        let stream = attached.number;
        let (room, heard) = attached.open.enter(id).ok_or(Refused::Full)?;
        let message = Message::Asked {
            id,
            what: what(id),
            room,
        };
        state.tell(key, message);
        let still_there = (state.presences.get(key)).is_some_and(|p| p.attached().is_some());
        if !still_there {
            return Err(Refused::Deaf);
        }
        Ok(Line {
            hub: self.clone(),
            key: key.clone(),
            stream,
            id,
            heard,
        })
    }

    /// The holder of a session closes it: waits until the answers are heard that it has sent before.
    pub(super) async fn hear_out(&self, key: &SessionKey, fence: u64) {
        let (done, heard) = oneshot::channel();
        {
            let state = self.state.lock();
            let presence = state.presences.get(key);
            let held = presence.filter(|presence| presence.session.fence == fence);
            let attached = held.and_then(|presence| presence.attached());
            let asked = attached.filter(|attached| !attached.open.asked.is_empty());
            if asked.is_none_or(|attached| attached.to.try_send(Message::HearOut(done)).is_err()) {
                return;
            }
        }
        // If it fails, the stream is over, or not read: then there is nothing to hear.
        let _ = timeout(HEAR_OUT, heard).await;
    }

    /// Takes in what the holder at the other end of a stream says about something asked.
    pub(super) fn answered(&self, key: &SessionKey, stream: u64, answer: CommandAnswer) {
        if let Some(kind) = answer.kind {
            self.with_stream(key, stream, |attached| {
                attached.open.answered(answer.command_id, kind);
            });
        }
    }

    fn with_stream(&self, key: &SessionKey, stream: u64, change: impl FnOnce(&mut Attached)) {
        let mut state = self.state.lock();
        let presence = state.presences.get_mut(key);
        let attached = presence.and_then(|presence| presence.attached_mut());
        if let Some(attached) = attached.filter(|attached| attached.number == stream) {
            change(attached);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.hub.with_stream(&self.key, self.stream, |attached| {
            attached.open.asked.remove(&self.id);
        });
    }
}

/// A text that is no longer than that; its end says if there was more.
pub fn shortened(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push_str(" ...");
    }
    text
}

//! Whether the holder of a session is there.
//!
//! A holder that has just opened its session, or whose session is older than this run of the server, has not attached
//! yet: for a while it is *expected*, and nobody takes its place before that has passed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    mem,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use stillpoint_proto::v1::{ClaimLost, Fenced};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::{
    ServiceKey, SessionKey,
    asked::{Asked, Open, Room},
    wishes::Wishes,
};
use crate::store::session::Session;

/// What a holder is told.
#[derive(Debug)]
pub enum Message {
    /// A record was taken from this session.
    ClaimLost(ClaimLost),
    /// A timer fires.
    TimerDue {
        /// View key of the timer.
        timer: Bytes,
        /// When it was due, in milliseconds since 1970.
        due_ms: u64,
    },
    /// An operator asks or tells something.
    Asked {
        /// Its number.
        id: u64,
        /// What.
        what: Asked,
        /// Given back when the message was handed over.
        room: Room,
    },
    /// Not told: what the holder has sent so far is to be heard, and then who waits for that to go on.
    HearOut(oneshot::Sender<()>),
    /// The session is not the receiver's any more. The last message.
    Fenced(Fenced),
}

/// Messages that may wait for a holder; one that leaves more of them unread is cut off.
pub const UNREAD_MAX: usize = 16384;

/// What the server knows of a session's holder.
#[derive(Debug)]
pub struct Presence {
    /// The session as it was last seen.
    pub session: Arc<Session>,
    /// Whether the holder is there.
    pub link: Link,
    /// When the holder was last heard.
    pub heard: Instant,
    /// What the holder has not saved, as it last said.
    pub unsaved: Unsaved,
    /// What its holder is told when it ends, if that is known.
    pub ends_for: Option<String>,
    /// Tells those who wait to take the session over.
    pub changed: watch::Sender<()>,
    /// When its lifetime is looked at next.
    check_at: Instant,
}

/// Whether a holder is there.
#[derive(Debug)]
pub enum Link {
    /// It has not attached yet. After this time it counts as gone.
    Expected(Instant),
    /// It is there.
    Attached(Attached),
    /// It is gone.
    Gone,
}

/// The Attach stream of a holder.
#[derive(Debug)]
pub struct Attached {
    /// Tells it from every other one; grows.
    pub number: u64,
    /// The way to it.
    pub to: mpsc::Sender<Message>,
    /// What is asked of it.
    pub open: Open,
    /// Who waits for its records, as far as it has not been told.
    pub wishes: Wishes,
}

/// Changes that a holder has not saved.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unsaved {
    /// Documents that have some.
    pub documents: u64,
    /// Age of the oldest when the holder was last heard, in milliseconds.
    pub oldest_ms: u64,
}

impl Presence {
    /// How long the session lives on without a word.
    fn lifetime(&self) -> Duration {
        Duration::from_millis(self.session.linger_ms.unwrap_or(self.session.ttl_ms))
    }

    /// When its lifetime ends.
    pub fn ends_at(&self) -> Instant {
        self.heard + self.lifetime()
    }

    /// Whether there is a holder who must let a successor in.
    pub fn is_held(&self, now: Instant) -> bool {
        let here = match &self.link {
            Link::Expected(until) => now < *until,
            Link::Attached(_) => true,
            Link::Gone => false,
        };
        here && self.session.linger_ms.is_none() && now < self.ends_at()
    }

    /// The stream to the holder, if it is there.
    pub fn attached(&self) -> Option<&Attached> {
        match &self.link {
            Link::Attached(attached) => Some(attached),
            Link::Expected(_) | Link::Gone => None,
        }
    }

    /// The same, to change it.
    pub fn attached_mut(&mut self) -> Option<&mut Attached> {
        match &mut self.link {
            Link::Attached(attached) => Some(attached),
            Link::Expected(_) | Link::Gone => None,
        }
    }

    /// Its service.
    pub fn service_key(&self, key: &SessionKey) -> ServiceKey {
        ServiceKey {
            namespace: key.namespace.clone(),
            service: self.session.service.as_str().into(),
        }
    }

    /// Says something to the holder, if it is there. Whether it can go on like that: a holder that does not read is cut
    /// off.
    #[must_use]
    pub fn tell(&self, message: Message) -> bool {
        self.attached()
            .is_none_or(|attached| attached.to.try_send(message).is_ok())
    }
}

/// All holders.
#[derive(Debug)]
pub struct Presences {
    all: HashMap<SessionKey, Presence>,
    /// The sessions whose holders are there, by number of the stream: who has been there longest is first.
    there: HashMap<ServiceKey, BTreeMap<u64, SessionKey>>,
    /// When to look at the lifetime of each.
    checks: BTreeSet<(Instant, SessionKey)>,
    /// How long a holder is expected.
    expected: Duration,
    /// Tells that a holder has come or gone: for those who wait for one whose session is yet to be opened.
    pub moved: watch::Sender<()>,
}

/// What has become of a session's holder.
#[derive(Debug, PartialEq, Eq)]
pub enum Noted {
    /// Nothing that was not known.
    Known,
    /// It has another holder, or was left by it: who was there is there no more.
    Left,
}

impl Presences {
    /// None yet; each is expected for this long.
    pub fn new(expected: Duration) -> Presences {
        Presences {
            all: HashMap::new(),
            there: HashMap::new(),
            checks: BTreeSet::new(),
            expected,
            moved: watch::Sender::new(()),
        }
    }

    /// What is known of a session.
    pub fn get(&self, key: &SessionKey) -> Option<&Presence> {
        self.all.get(key)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, key: &SessionKey) -> Option<&mut Presence> {
        self.all.get_mut(key)
    }

    /// The instances of a service whose holders are there, first who has been there longest.
    pub fn there(&self, service: &ServiceKey) -> impl Iterator<Item = &SessionKey> {
        self.there
            .get(service)
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    /// The holder of a session is there, or not.
    pub fn set_link(&mut self, key: &SessionKey, link: Link, now: Instant) {
        let Some(presence) = self.all.get_mut(key) else {
            return;
        };
        let service = presence.service_key(key);
        let before = mem::replace(&mut presence.link, link);
        presence.heard = now;
        presence.changed.send_replace(());
        if let Some(after) = presence.attached() {
            let there = self.there.entry(service.clone()).or_default();
            there.insert(after.number, key.clone());
        }
        self.left(&service, &before);
        self.moved.send_replace(());
    }

    /// A stream is not that of its session any more.
    fn left(&mut self, service: &ServiceKey, link: &Link) {
        if let Link::Attached(attached) = link
            && let Some(there) = self.there.get_mut(service)
        {
            there.remove(&attached.number);
            if there.is_empty() {
                self.there.remove(service);
            }
        }
    }

    /// The server itself was held up for so long: what holders could not say meanwhile does not count.
    pub fn forgive(&mut self, late: Duration) {
        for presence in self.all.values_mut() {
            presence.heard += late;
        }
    }

    /// Takes in a session as it is, or was: news may come late.
    pub fn note(&mut self, key: &SessionKey, session: &Arc<Session>, now: Instant) -> Noted {
        let expected = Link::Expected(now + self.expected);
        let Some(known) = self.all.get_mut(key) else {
            let presence = Presence {
                session: session.clone(),
                link: expected,
                heard: now,
                unsaved: Unsaved::default(),
                ends_for: None,
                changed: watch::Sender::new(()),
                check_at: now,
            };
            let check_at = presence.ends_at();
            self.all.insert(key.clone(), presence);
            self.check(key, check_at);
            return Noted::Known;
        };
        let succeeded = known.session.fence < session.fence;
        let left = known.session.fence == session.fence
            && known.session.linger_ms.is_none()
            && session.linger_ms.is_some();
        if !succeeded && !left {
            return Noted::Known;
        }
        known.session = session.clone();
        known.unsaved = Unsaved::default();
        known.ends_for = None;
        let check_at = now + known.lifetime();
        if let Some(before) = known.attached() {
            // One that reads nothing learns it when it attaches again.
            let _ = before.to.try_send(Message::Fenced(fenced(session, left)));
        }
        self.set_link(key, if left { Link::Gone } else { expected }, now);
        self.check(key, check_at);
        Noted::Left
    }

    /// Forgets a session that is over.
    pub fn forget(&mut self, key: &SessionKey) {
        let Some(presence) = self.all.remove(key) else {
            return;
        };
        self.checks.remove(&(presence.check_at, key.clone()));
        self.left(&presence.service_key(key), &presence.link);
        self.moved.send_replace(());
        let message = presence.ends_for.clone().unwrap_or_else(|| {
            format!(
                "session {} is over: it was closed, or silent for longer than its ttl; open a new one",
                key.id
            )
        });
        // As above.
        let _ = presence.tell(Message::Fenced(Fenced {
            message,
            fence: 0,
            holder: String::new(),
        }));
    }

    /// Looks at a session's lifetime then, instead of when it was to be.
    fn check(&mut self, key: &SessionKey, at: Instant) {
        if let Some(presence) = self.all.get_mut(key) {
            self.checks.remove(&(presence.check_at, key.clone()));
            presence.check_at = at;
            self.checks.insert((at, key.clone()));
        }
    }

    /// The sessions whose lifetime has ended. They are given again after `again`, should they still be there.
    pub fn ended(&mut self, now: Instant, again: Duration) -> Vec<(SessionKey, u64)> {
        let mut ended = Vec::new();
        while let Some((at, key)) = self.checks.first().cloned()
            && at <= now
        {
            // Each heard word moves the end without a look at this order: so look at the end only when it seems to be there.
            let ends_at = self.all[&key].ends_at();
            if ends_at <= now {
                ended.push((key.clone(), self.all[&key].session.fence));
            }
            let next = if ends_at <= now { now + again } else { ends_at };
            self.check(&key, next);
        }
        ended
    }

    /// When to look for such sessions next.
    pub fn next_check(&self) -> Option<Instant> {
        self.checks.first().map(|(at, _)| *at)
    }
}

/// What a holder is told that is one no more.
fn fenced(session: &Session, left: bool) -> Fenced {
    let identity = session.identity();
    if left {
        return Fenced {
            message: format!("{identity} was closed and left to a successor; open it anew"),
            fence: 0,
            holder: String::new(),
        };
    }
    Fenced {
        message: format!(
            "{identity} has a successor, with fence {}: this process can write no more",
            session.fence
        ),
        fence: session.fence,
        holder: session.client_name.clone(),
    }
}

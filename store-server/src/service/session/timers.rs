//! Which firings of timers are due, and which of them was told to whom.
//!
//! A firing that is due waits at a *place*: that of the record whose owner it fires at, or else that of its service. From
//! there it is told to a session whose holder is there and has room. It comes back to its place when that holder goes or
//! the record gets another owner, and is gone when its timer changes, which is also how it is consumed.
//!
//! Only places where something may have become possible are looked at, so a crowd of firings that nobody is there for
//! costs nothing.

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::Bytes;

use super::{ServiceKey, SessionKey};
use crate::store::index::Due;

/// Firings that are due.
#[derive(Debug, Default)]
pub struct Timers {
    /// By view key of the timer.
    firings: HashMap<Bytes, Firing>,
    /// Those told to nobody who is there, the earliest first.
    untold: HashMap<Place, BTreeSet<(u64, Bytes)>>,
    /// Those told at a place, if it is that of a record.
    told_at: HashMap<Bytes, HashSet<Bytes>>,
    told_to: HashMap<SessionKey, Told>,
    /// Places to look at.
    changed: HashSet<Place>,
}

#[derive(Debug)]
struct Firing {
    due_ms: u64,
    revision: u64,
    service: ServiceKey,
    place: Place,
    told_to: Option<SessionKey>,
}

/// Where firings wait.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Any instance of this service will do.
    Service(ServiceKey),
    /// The owner of the record with this view key.
    Record(Bytes),
}

/// What a session was told.
#[derive(Debug, Default)]
struct Told {
    timers: HashSet<Bytes>,
    /// Places where more would have been told, had there been room.
    more_at: HashSet<Place>,
}

/// Firings that a session may have been told and not consumed.
pub const TOLD_MAX: usize = 256;

impl Timers {
    /// A timer is due. News of that may come more than once.
    pub fn due(&mut self, timer: &Bytes, due: &Due, service: ServiceKey) {
        let known = self.firings.get(timer);
        if known.is_some_and(|known| known.revision == due.revision) {
            return;
        }
        self.forget(timer);
        let place = match &due.owner {
            Some(record) => Place::Record(record.clone()),
            None => Place::Service(service.clone()),
        };
        let firing = Firing {
            due_ms: due.due_ms,
            revision: due.revision,
            service,
            place,
            told_to: None,
        };
        self.put_back(timer, &firing);
        self.firings.insert(timer.clone(), firing);
    }

    /// A timer has changed: the firing that was due is not any more.
    pub fn forget(&mut self, timer: &Bytes) {
        let Some(firing) = self.firings.remove(timer) else {
            return;
        };
        if let Some(session) = &firing.told_to {
            self.take_from(timer, session, &firing.place);
        } else if let Some(untold) = self.untold.get_mut(&firing.place) {
            untold.remove(&(firing.due_ms, timer.clone()));
            if untold.is_empty() {
                self.untold.remove(&firing.place);
            }
        }
    }

    /// A session's holder is there no more: what it was told is told to another.
    pub fn left(&mut self, session: &SessionKey) {
        let told = self.told_to.get(session);
        let timers: Vec<_> = told
            .into_iter()
            .flat_map(|told| &told.timers)
            .cloned()
            .collect();
        for timer in timers {
            self.untell(&timer);
        }
        self.told_to.remove(session);
    }

    /// A session's holder is there: looks at its service, and at the records that it owns.
    pub fn came<'a>(&mut self, service: ServiceKey, records: impl Iterator<Item = &'a Bytes>) {
        if self.untold.is_empty() {
            return;
        }
        let places = records.map(|record| Place::Record(record.clone()));
        let places = places.chain([Place::Service(service)]);
        self.changed
            .extend(places.filter(|place| self.untold.contains_key(place)));
    }

    /// A record has another owner.
    pub fn owner_moved(&mut self, record: &Bytes) {
        for timer in self.told_at.get(record).cloned().unwrap_or_default() {
            self.untell(&timer);
        }
        let place = Place::Record(record.clone());
        if self.untold.contains_key(&place) {
            self.changed.insert(place);
        }
    }

    /// A firing that was told is to be told once more.
    pub fn untell(&mut self, timer: &Bytes) {
        let Some(mut firing) = self.firings.remove(timer) else {
            return;
        };
        if let Some(session) = firing.told_to.take() {
            self.take_from(timer, &session, &firing.place);
            self.put_back(timer, &firing);
        }
        self.firings.insert(timer.clone(), firing);
    }

    /// A place to look at: something may be told there that could not be before.
    pub fn next_place(&mut self) -> Option<Place> {
        let place = self.changed.iter().next().cloned()?;
        self.changed.remove(&place);
        Some(place)
    }

    /// Firings of a service that wait at a place, as many as a session may be told; they count as told to it. When each
    /// was due, and view key of its timer.
    pub fn tell(
        &mut self,
        place: &Place,
        service: &ServiceKey,
        session: &SessionKey,
    ) -> Vec<(u64, Bytes)> {
        let Some(untold) = self.untold.get_mut(place) else {
            return Vec::new();
        };
        let told = (self.told_to.get(session)).map_or(0, |told| told.timers.len());
        let room = TOLD_MAX.saturating_sub(told);
        let firings = &mut self.firings;
        let ours = untold
            .iter()
            .filter(|(_, timer)| firings[timer].service == *service);
        let mut telling: Vec<_> = ours.take(room + 1).cloned().collect();
        if telling.is_empty() {
            return telling;
        }
        let told = self.told_to.entry(session.clone()).or_default();
        if telling.len() > room {
            telling.truncate(room);
            told.more_at.insert(place.clone());
        }
        for (due_ms, timer) in &telling {
            untold.remove(&(*due_ms, timer.clone()));
            told.timers.insert(timer.clone());
            if let Some(firing) = firings.get_mut(timer) {
                firing.told_to = Some(session.clone());
            }
            if let Place::Record(record) = place {
                let at = self.told_at.entry(record.clone()).or_default();
                at.insert(timer.clone());
            }
        }
        if untold.is_empty() {
            self.untold.remove(place);
        }
        telling
    }

    /// Whether something waits at a place.
    pub fn waits_at(&self, place: &Place) -> bool {
        self.untold.contains_key(place)
    }

    /// Puts a firing back to its place.
    fn put_back(&mut self, timer: &Bytes, firing: &Firing) {
        let untold = self.untold.entry(firing.place.clone()).or_default();
        untold.insert((firing.due_ms, timer.clone()));
        self.changed.insert(firing.place.clone());
    }

    /// Takes a firing from a session, which has room again then.
    fn take_from(&mut self, timer: &Bytes, session: &SessionKey, place: &Place) {
        if let Some(told) = self.told_to.get_mut(session) {
            told.timers.remove(timer);
            self.changed.extend(told.more_at.drain());
            if told.timers.is_empty() {
                self.told_to.remove(session);
            }
        }
        if let Place::Record(record) = place
            && let Some(at) = self.told_at.get_mut(record)
        {
            at.remove(timer);
            if at.is_empty() {
                self.told_at.remove(record);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> ServiceKey {
        ServiceKey {
            namespace: "w".into(),
            service: name.into(),
        }
    }

    fn session(name: &str) -> SessionKey {
        SessionKey {
            namespace: "w".into(),
            id: name.into(),
        }
    }

    fn due(due_ms: u64, owner: Option<Bytes>) -> Due {
        Due {
            due_ms,
            revision: due_ms,
            owner,
        }
    }

    fn timer(number: usize) -> Bytes {
        format!("t{number:04}").into()
    }

    fn names(told: Vec<(u64, Bytes)>) -> Vec<Bytes> {
        told.into_iter().map(|(_, timer)| timer).collect()
    }

    #[test]
    fn a_session_is_told_the_earliest_up_to_the_bound_and_more_as_it_consumes_them() {
        let (mut timers, mail) = (Timers::default(), service("mail"));
        let count = TOLD_MAX + 2;
        for number in 0..count {
            timers.due(&timer(number), &due(number as u64, None), mail.clone());
        }
        let place = timers.next_place().expect("something is due");
        let told = names(timers.tell(&place, &mail, &session("a")));
        assert_eq!(told, (0..TOLD_MAX).map(timer).collect::<Vec<_>>());
        assert_eq!(timers.next_place(), None);
        timers.forget(&timer(7));
        assert_eq!(timers.next_place().as_ref(), Some(&place));
        let told = names(timers.tell(&place, &mail, &session("a")));
        assert_eq!(told, [timer(TOLD_MAX)]);
        let told = names(timers.tell(&place, &mail, &session("b")));
        assert_eq!(told, [timer(TOLD_MAX + 1)], "another has room");
    }

    #[test]
    fn what_a_session_was_told_is_told_to_another_when_it_goes() {
        let (mut timers, mail) = (Timers::default(), service("mail"));
        timers.due(&timer(1), &due(5, None), mail.clone());
        let place = timers.next_place().expect("it is due");
        assert_eq!(names(timers.tell(&place, &mail, &session("a"))), [timer(1)]);
        assert!(timers.tell(&place, &mail, &session("b")).is_empty());
        timers.left(&session("a"));
        assert_eq!(timers.next_place().as_ref(), Some(&place));
        assert_eq!(names(timers.tell(&place, &mail, &session("b"))), [timer(1)]);
        timers.forget(&timer(1));
        timers.left(&session("b"));
        assert_eq!(timers.next_place(), None);
        assert!(timers.told_to.is_empty() && timers.untold.is_empty());
    }

    #[test]
    fn a_firing_of_a_record_follows_its_owner_and_waits_for_one_of_its_service() {
        let (mut timers, zone) = (Timers::default(), service("zone"));
        let record = Bytes::from_static(b"w\0zone\x007");
        timers.due(&timer(1), &due(5, Some(record.clone())), zone.clone());
        let place = timers.next_place().expect("it is due");
        assert!(
            timers
                .tell(&place, &service("mail"), &session("m"))
                .is_empty()
        );
        assert_eq!(names(timers.tell(&place, &zone, &session("a"))), [timer(1)]);
        timers.owner_moved(&record);
        assert_eq!(timers.next_place().as_ref(), Some(&place));
        assert_eq!(names(timers.tell(&place, &zone, &session("b"))), [timer(1)]);
        timers.forget(&timer(1));
        timers.owner_moved(&record);
        assert_eq!(timers.next_place(), None);
        assert!(timers.told_at.is_empty() && timers.told_to.is_empty());
    }

    #[test]
    fn news_that_come_twice_fire_once_and_a_timer_set_anew_fires_again() {
        let (mut timers, mail) = (Timers::default(), service("mail"));
        let set = due(5, None);
        timers.due(&timer(1), &set, mail.clone());
        let place = timers.next_place().expect("it is due");
        assert_eq!(names(timers.tell(&place, &mail, &session("a"))), [timer(1)]);
        timers.due(&timer(1), &set, mail.clone());
        assert_eq!(timers.next_place(), None);
        let anew = Due { revision: 9, ..set };
        timers.due(&timer(1), &anew, mail.clone());
        assert_eq!(timers.next_place().as_ref(), Some(&place));
        assert_eq!(names(timers.tell(&place, &mail, &session("a"))), [timer(1)]);
    }
}

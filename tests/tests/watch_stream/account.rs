//! What one watch has told, and whether it was right to.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use stillpoint_client::v1::{
    WatchCommit, WatchEvent, WatchEventType, WatchRequest, WatchResponse, watch_response::Kind,
};

use crate::{
    truth::{Commit, Name, Truth, Written},
    writer::{COLLECTIONS, number_of},
};

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Begin {
    /// Behind this revision.
    After(u64),
    /// At any place from this revision on, which was the newest known when it was opened.
    Now(u64),
    /// The same, with the state first.
    Snapshot(u64),
}

/// What a watch tells, in order, from its opening to its end.
#[derive(Clone, Debug)]
pub struct Account {
    name: String,
    request: WatchRequest,
    /// The caller's session; empty for none.
    own_session: String,
    begin: Begin,
    pub told: Vec<Told>,
    places: Vec<Place>,
}

/// Where a watch was.
#[derive(Clone, Debug)]
pub struct Place {
    /// The revision it had reached.
    pub revision: u64,
    /// The position it was told there.
    pub position: Bytes,
}

/// What a message says.
#[derive(Clone, Debug)]
pub enum Told {
    Started(u64),
    Commit(WatchCommit),
    /// Nothing else up to this revision.
    Reached(u64),
    Resync,
    Data(Vec<WatchEvent>),
    End(u64),
}

/// What an account was found to have.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Found {
    pub commits: usize,
    pub resyncs: usize,
}

impl Account {
    /// Of a watch that is about to be opened.
    pub fn new(name: &str, request: WatchRequest, begin: Begin) -> Self {
        Account {
            name: name.into(),
            request,
            own_session: String::new(),
            begin,
            told: Vec::new(),
            places: Vec::new(),
        }
    }

    /// What was asked for.
    pub fn request(&self) -> &WatchRequest {
        &self.request
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it was after each of its messages, as far as it can go on from there.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Where it was last.
    ///
    /// # Panics
    ///
    /// If it was told no place yet.
    pub fn place(&self) -> &Place {
        self.places.last().expect("it was told where it is")
    }

    /// The same, if it leaves out the commits of this session.
    pub fn without(mut self, session: &str) -> Self {
        self.own_session = session.into();
        self
    }

    /// Takes in the next message.
    pub fn take(&mut self, message: WatchResponse) {
        let revision = message.header.expect("every message has a header").revision;
        let told = &mut self.told;
        match message.kind.expect("every message is something") {
            Kind::Started(_) => told.push(Told::Started(revision)),
            Kind::Commits(commits) => {
                told.extend(commits.commits.into_iter().map(Told::Commit));
                told.push(Told::Reached(revision));
            }
            Kind::Bookmark(_) => told.push(Told::Reached(revision)),
            Kind::ResyncBegin(_) => told.push(Told::Resync),
            Kind::ResyncData(data) => told.push(Told::Data(data.events)),
            Kind::ResyncEnd(_) => told.push(Told::End(revision)),
        }
        if !message.position.is_empty() {
            let position = message.position;
            self.places.push(Place { revision, position });
        }
    }

    /// Whether it told what it had to: every commit, whole, once, in order; after a resync the exact state. The error says
    /// where it did not.
    pub fn verify(&self, truth: &Truth) -> Result<Found> {
        self.verify_told(truth)
            .with_context(|| format!("the watch {}", self.name))
    }

    fn verify_told(&self, truth: &Truth) -> Result<Found> {
        let mut found = Found::default();
        let mut told = self.told.iter();
        // Behind which revision the next commit is; none: the state comes first, or goes on.
        let mut at = match (self.begin, told.next()) {
            (Begin::After(revision), Some(Told::Started(_))) => Some(revision),
            (Begin::Now(least), Some(Told::Started(revision))) => {
                ensure!(*revision >= least, "it began before now");
                Some(*revision)
            }
            (Begin::Snapshot(_), Some(Told::Started(_))) => None,
            (begin, first) => bail!("it was opened at {begin:?} and began with {first:?}"),
        };
        let mut state: Option<BTreeMap<Name, WatchEvent>> = None;
        for told in told {
            match told {
                Told::Resync => {
                    found.resyncs += 1;
                    (at, state) = (None, Some(BTreeMap::new()));
                }
                Told::Data(events) => {
                    let state = state.as_mut().context("data outside of a resync")?;
                    for event in events {
                        match event.record {
                            Some(_) => drop(state.insert(name_of(event), event.clone())),
                            None => drop(state.remove(&name_of(event))),
                        }
                    }
                }
                Told::End(revision) => {
                    let state = state.take().context("a resync ends that never began")?;
                    self.verify_state(truth, &state, *revision)?;
                    at = Some(*revision);
                }
                Told::Commit(commit) => {
                    let after = at.context("a commit before the state was whole")?;
                    self.verify_commit(truth, commit, after)
                        .with_context(|| format!("revision {}", commit.revision))?;
                    found.commits += 1;
                    at = Some(commit.revision);
                }
                Told::Reached(revision) => {
                    let after = at.context("a bookmark before the state was whole")?;
                    ensure!(*revision >= after, "back from {after} to {revision}");
                    self.verify_nothing_left_out(truth, after, revision + 1)?;
                    at = Some(*revision);
                }
                Told::Started(_) => bail!("it started twice"),
            }
        }
        Ok(found)
    }

    fn verify_commit(&self, truth: &Truth, told: &WatchCommit, after: u64) -> Result<()> {
        let revision = told.revision;
        ensure!(revision > after, "told behind {after}");
        ensure!(!told.more, "told in parts");
        self.verify_nothing_left_out(truth, after, revision)?;
        let commit = truth.get(revision).context("nobody has committed it")?;
        ensure!(*commit.session == *told.session_id, "not of that session");
        ensure!(self.wants(&commit), "not for this watch");
        let expected = commit.changes.iter().filter(|(name, _)| self.watches(name));
        let expected: Vec<_> = expected
            .map(|(name, written)| (name.clone(), written.clone().map(|w| (revision, w))))
            .collect();
        let events = told.events.iter();
        let events: Vec<_> = events
            .map(|event| Ok((name_of(event), self.written(truth, event)?)))
            .collect::<Result<_>>()?;
        ensure!(events == expected, "told {events:?}, did {expected:?}");
        Ok(())
    }

    fn verify_nothing_left_out(&self, truth: &Truth, after: u64, before: u64) -> Result<()> {
        let left_out = truth.find(after + 1..before, |commit| self.wants(commit));
        ensure!(left_out.is_none(), "{left_out:?} is left out");
        Ok(())
    }

    fn verify_state(
        &self,
        truth: &Truth,
        told: &BTreeMap<Name, WatchEvent>,
        revision: u64,
    ) -> Result<()> {
        let (Begin::Now(least) | Begin::Snapshot(least) | Begin::After(least)) = self.begin;
        ensure!(revision >= least, "the state is an old one, of {revision}");
        let mut state = BTreeMap::new();
        for (name, event) in told {
            let written = self.written(truth, event)?;
            state.insert(name.clone(), written.context("what is gone was not kept")?);
        }
        let mut expected = truth.state_at(revision);
        expected.retain(|name, _| self.watches(name));
        ensure!(
            state == expected,
            "at {revision} told {state:?}, was {expected:?}"
        );
        Ok(())
    }

    /// What an event says of its record; none: it is gone.
    fn written(&self, truth: &Truth, event: &WatchEvent) -> Result<Option<(u64, Written)>> {
        let Some(record) = &event.record else {
            ensure!(
                event.r#type() == WatchEventType::Delete,
                "not a deletion: {event:?}"
            );
            return Ok(None);
        };
        ensure!(
            event.r#type() == WatchEventType::Put,
            "not a put: {event:?}"
        );
        let number = match self.request.keys_only {
            true => {
                ensure!(record.value.is_empty(), "a value was told");
                // Nothing to compare it with but itself.
                let commit = truth.get(record.mod_rev).unwrap_or_default();
                let written = commit.changes.get(&name_of(event)).cloned();
                written.flatten().map_or(0, |written| written.number)
            }
            false => number_of(&record.value),
        };
        let version = record.version;
        Ok(Some((record.mod_rev, Written { number, version })))
    }

    fn wants(&self, commit: &Commit) -> bool {
        let is_own = self.request.skip_own && *commit.session == *self.own_session;
        !is_own && commit.changes.keys().any(|name| self.watches(name))
    }

    fn watches(&self, (collection, key): &Name) -> bool {
        let WatchRequest {
            collection: of,
            key: one,
            prefix,
            ..
        } = &self.request;
        (of.is_empty() || of == collection)
            && (one.is_empty() || one == key.as_bytes())
            && key.as_bytes().starts_with(prefix)
    }
}

fn name_of(event: &WatchEvent) -> Name {
    let key = event.key.as_ref().expect("an event is of a record");
    let collection = COLLECTIONS.into_iter().find(|c| *c == key.collection);
    let text = String::from_utf8_lossy(&key.key).into_owned();
    (collection.expect("a collection that is written"), text)
}

//! From which version to which a collection goes, and who could not go on.
//!
//! Going on means: a session that speaks another version is given that, there and back. It is not where a script has no way
//! back, or loses something on it; and once a collection is rolled back, for those that speak a version it has no more.

use stillpoint_migrations::StepError;
use stillpoint_proto::v1::{Reason, StoreError, WaitingForSessions};

use super::name::Name;
use crate::store::{
    index::Index,
    keys,
    schema::{Lineage, Link, Table},
    session::Session,
};

/// What is done about sessions that are in the way.
const REMEDY: &str =
    "restart those processes with code that does, one by one, or with `stillpoint restart`";

/// Sessions that a message names.
const SESSIONS_NAMED_MAX: usize = 10;

/// A collection's way to another version.
#[derive(Clone, Debug)]
pub struct Course {
    /// The collection.
    pub name: Name,
    /// The version that it is at.
    pub from: u32,
    /// The version that it goes to.
    pub to: u32,
    /// The oldest version from which scripts lead on.
    pub first: u32,
    /// The newest script behind which an older session cannot go on.
    without_down: Option<Link>,
    /// The newest script behind which an older session cannot own records.
    lossy: Option<Link>,
}

impl Course {
    /// The way along these scripts.
    pub fn new(name: Name, from: u32, to: u32, lineage: &Lineage) -> Result<Course, StoreError> {
        let broken = |error: StepError| StoreError::new(Reason::Invalid, error.to_string());
        let first = lineage.first().map_err(broken)?;
        if to < first {
            let message = format!(
                "no script leads to version {to}, since its scripts begin at version {first}: publish those before, too, with \
                 `stillpoint migrate publish DIR`"
            );
            return Err(StoreError::new(Reason::Invalid, message));
        }
        let without_down = lineage.without_down(first, to).map_err(broken)?;
        let lossy = lineage.lossy(first, to).map_err(broken)?;
        Ok(Course {
            without_down: without_down.cloned(),
            lossy: lossy.cloned(),
            name,
            from,
            to,
            first,
        })
    }

    /// Whether it goes to an older version.
    pub fn is_back(&self) -> bool {
        self.to < self.from
    }

    /// The sessions that could not go on, and why, for people.
    pub fn in_the_way(&self, index: &Index, table: &Table) -> Option<WaitingForSessions> {
        let mut reason = String::new();
        let mut sessions = Vec::new();
        for (namespace, session) in index.sessions() {
            if !self.concerns(namespace, table) {
                continue;
            }
            let version = session.speaks(&self.name.collection);
            if let Some(why) = self.why_not(index, session, version) {
                sessions.push(told(session, version));
                reason = why;
            }
        }
        sessions.sort_unstable();
        (!sessions.is_empty()).then_some(WaitingForSessions { reason, sessions })
    }

    /// Refuses to go while there are sessions that could not go on.
    pub fn check(&self, index: &Index, table: &Table) -> Result<(), StoreError> {
        match self.in_the_way(index, table) {
            None => Ok(()),
            Some(waiting) => Err(refused(&self.name, &waiting)),
        }
    }

    /// Whether a namespace goes this way.
    fn concerns(&self, namespace: &str, table: &Table) -> bool {
        match self.name.is_any() {
            true => table.state(namespace, &self.name.collection).is_none(),
            false => namespace == self.name.namespace,
        }
    }

    fn why_not(&self, index: &Index, session: &Session, version: u32) -> Option<String> {
        let Course {
            name, to, first, ..
        } = self;
        if version < *first && !self.is_back() {
            return Some(format!(
                "no script leads from the version of {name} that these sessions speak to {to}, since its scripts begin at \
                 version {first}: publish those before, too, or end those processes"
            ));
        }
        if version > *to {
            return self.is_back().then(|| {
                format!("these sessions speak a newer version of {name} than {to}: {REMEDY}")
            });
        }
        if let Some(Link { path, to, .. }) = self.without_down.as_ref().filter(|l| l.to > version) {
            return Some(format!(
                "{path} has no `down`, so no session that speaks an older version of {name} than {to} could go on: {REMEDY}"
            ));
        }
        let Link { path, to, .. } = self.lossy.as_ref().filter(|link| link.to > version)?;
        self.owns_some(index, session).then(|| {
            format!(
                "{path} loses something on the way back, so no session that speaks an older version of {name} than {to} \
                 could go on with records that it owns: {REMEDY}"
            )
        })
    }

    fn owns_some(&self, index: &Index, session: &Session) -> bool {
        let mut owned = index.claims_of(&session.id);
        owned.any(|key| {
            keys::split_record(key)
                .is_some_and(|(_, collection, _)| collection == self.name.collection)
        })
    }
}

/// The refusal that names the sessions.
pub fn refused(name: &Name, waiting: &WaitingForSessions) -> StoreError {
    let WaitingForSessions { reason, sessions } = waiting;
    let message = format!(
        "{name} is not changed, for {}: {reason}",
        first_ten(sessions)
    );
    StoreError::new(Reason::SchemaUnsupported, message)
}

/// The first of some sessions, and how many more there are: a message has to stay small enough to be read, and to be sent.
pub fn first_ten(sessions: &[String]) -> String {
    let (first, more) = sessions.split_at(sessions.len().min(SESSIONS_NAMED_MAX));
    let first = first.join(", ");
    match more.len() {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// A session as operators are told of it.
pub fn told(session: &Session, version: u32) -> String {
    format!("{} (version {version})", session.identity())
}

/// The sessions that speak another version of a collection than this one, as operators are told of them; of all namespaces
/// that have nothing of their own, if it is `_any`'s.
pub fn other_sessions(
    name: &Name,
    index: &Index,
    table: &Table,
    is_other: impl Fn(u32) -> bool,
) -> Vec<String> {
    let concerns = |namespace: &str| match name.is_any() {
        true => table.state(namespace, &name.collection).is_none(),
        false => namespace == name.namespace,
    };
    let sessions = index
        .sessions()
        .filter(|(namespace, _)| concerns(namespace));
    let mut others: Vec<_> = sessions
        .map(|(_, session)| (session, session.speaks(&name.collection)))
        .filter(|(_, version)| is_other(*version))
        .map(|(session, version)| told(session, version))
        .collect();
    others.sort_unstable();
    others
}

#[cfg(test)]
mod tests {
    use super::first_ten;

    #[test]
    fn ten_sessions_are_named_and_the_others_counted() {
        let sessions: Vec<_> = (0..12).map(|n| format!("s{n}")).collect();
        assert_eq!(first_ten(&sessions[..2]), "s0, s1");
        assert_eq!(
            first_ten(&sessions[..10]),
            "s0, s1, s2, s3, s4, s5, s6, s7, s8, s9"
        );
        assert_eq!(
            first_ten(&sessions),
            "s0, s1, s2, s3, s4, s5, s6, s7, s8, s9 and 2 more"
        );
    }
}

//! Where it is known from what the records were: the log of the running store, or a store that was restored from backups to
//! be looked at.

use std::iter::Peekable;

use bytes::Bytes;
use stillpoint_proto::v1::{Reason, StoreError};

use super::wanted::Wanted;
use crate::{
    backup::{Scratch, To},
    store::{
        AtRest, Store, keys,
        moment::{Bounds, States, Tell, Which, own_key},
        record::Record,
        server_time_ms,
    },
};

/// What records were.
pub enum Source {
    /// As the log has it: all that may differ from what they are.
    Log(States),
    /// As backups have it.
    Backup {
        /// The store that was restored from them.
        at_rest: AtRest,
        /// The directory that it is in, which goes with it.
        _scratch: Scratch,
    },
}

/// A record by its key in the collection; none: there was none.
pub type State = Result<(Bytes, Option<Record>), StoreError>;

/// What is kept of the log in memory.
const BOUNDS: Bounds = Bounds {
    records: 1_000_000,
    bytes: 1 << 30,
};

impl Source {
    /// Reads the log, to a moment. Gives its commit, too.
    pub fn log(
        store: &Store,
        wanted: &Wanted,
        to: &To,
        tell: Tell<'_>,
    ) -> Result<(Source, u64), StoreError> {
        let seq = locate(store, to)?;
        let states = match wanted.names.are_the_same {
            // What was not written since is as it was.
            true => store.written_since(&wanted.of, seq, BOUNDS, tell)?,
            false => store.states_at(&wanted.of, seq, BOUNDS, tell)?,
        };
        Ok((Source::Log(states), seq))
    }

    /// About how many records there are to be compared; 0: not known.
    pub fn records(&self) -> u64 {
        match self {
            Source::Log(states) => states.len() as u64,
            Source::Backup { .. } => 0,
        }
    }

    /// The records, in the order of their keys, with those that are there now and were not.
    pub fn states<'a>(
        &'a self,
        store: &'a Store,
        wanted: &'a Wanted,
    ) -> Box<dyn Iterator<Item = State> + 'a> {
        match self {
            Source::Log(states) => {
                let states = states.iter();
                Box::new(states.map(|(key, record)| Ok((key.clone(), record.clone()))))
            }
            Source::Backup { at_rest, .. } => in_backup(at_rest, store, wanted),
        }
    }
}

fn in_backup<'a>(
    at_rest: &'a AtRest,
    store: &'a Store,
    wanted: &'a Wanted,
) -> Box<dyn Iterator<Item = State> + 'a> {
    let Wanted { of, names } = wanted;
    let Which::Keys(keys) = &of.which else {
        let there = at_rest.records(of.range()).map(|found| {
            let (key, record) = found.map_err(unreadable)?;
            Ok((own_key(&key), Some(record)))
        });
        return match names.are_the_same {
            true => Box::new(with_new(there, store.live_records(of.range()))),
            // Nothing is removed where the records are only copied to.
            false => Box::new(there),
        };
    };
    Box::new(keys.iter().map(|key| {
        let view_key = keys::record(&of.namespace, &of.collection, key);
        let record = at_rest.record(&view_key).map_err(unreadable)?;
        Ok((key.clone(), record))
    }))
}

/// The records that there were, and as none those that are there now only. Both in the order of keys.
fn with_new<'a>(
    there: impl Iterator<Item = State> + 'a,
    now: impl Iterator<Item = State> + 'a,
) -> impl Iterator<Item = State> + 'a {
    let (mut there, mut now) = (there.peekable(), now.peekable());
    std::iter::from_fn(move || {
        let (was, is) = (key_of(&mut there), key_of(&mut now));
        match (was, is) {
            // An error is no key, and comes first.
            (Some(Some(was)), Some(Some(is))) if is < was => as_none(now.next()),
            (Some(Some(was)), Some(Some(is))) => {
                if was == is {
                    now.next();
                }
                there.next()
            }
            (None, Some(_)) | (_, Some(None)) => as_none(now.next()),
            (Some(_), _) => there.next(),
            (None, None) => None,
        }
    })
}

/// The next key; none: there is an error instead.
fn key_of(states: &mut Peekable<impl Iterator<Item = State>>) -> Option<Option<Bytes>> {
    let next = states.peek()?;
    Some(next.as_ref().ok().map(|(key, _)| key.clone()))
}

fn as_none(state: Option<State>) -> Option<State> {
    state.map(|state| state.map(|(key, _)| (key, None)))
}

fn unreadable(error: impl std::fmt::Display) -> StoreError {
    let message = format!("what was restored from the backups cannot be read: {error}");
    StoreError::new(Reason::Internal, message)
}

/// The commit that a moment is, in the log.
fn locate(store: &Store, to: &To) -> Result<u64, StoreError> {
    match to {
        To::Latest => Err(invalid(
            "the newest state that the log has is what is there: name a moment, or backups".into(),
        )),
        To::Seq(seq) => match store.state().seq {
            newest if *seq <= newest => Ok(*seq),
            newest => Err(not_found(format!(
                "the newest commit is {newest}, there is no {seq}"
            ))),
        },
        To::Time(time_ms) if *time_ms > server_time_ms() => Err(invalid(
            "that moment is still to come, by the server's clock".into(),
        )),
        To::Time(time_ms) => {
            (store.seq_at(*time_ms)?).ok_or_else(|| store.compacted("that moment".into()))
        }
        To::Revision {
            namespace,
            revision,
        } => locate_revision(store, namespace, *revision),
        To::Label(label) => {
            let marks = store.marks("")?;
            let mark = marks.into_iter().find(|mark| mark.label == *label);
            let mark = mark.ok_or_else(|| {
                not_found(format!(
                    "no moment is labelled {label}: see `stillpoint mark --list`, or name the backups that have it"
                ))
            })?;
            locate_revision(store, &mark.namespace, mark.revision)
        }
    }
}

fn locate_revision(store: &Store, namespace: &str, revision: u64) -> Result<u64, StoreError> {
    let newest = store.reader().revision(namespace);
    if revision > newest {
        return Err(not_found(format!(
            "the newest revision of namespace {namespace} is {newest}, there is no {revision}"
        )));
    }
    let found = store.seq_of(namespace, revision)?;
    found.ok_or_else(|| store.compacted(format!("revision {revision} of namespace {namespace}")))
}

fn not_found(message: String) -> StoreError {
    StoreError::new(Reason::NotFound, message)
}

fn invalid(message: String) -> StoreError {
    StoreError::new(Reason::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(key: &'static str) -> State {
        let record = Record {
            create_rev: 1,
            mod_rev: 1,
            version: 1,
            schema: 0,
            expires_at_ms: 0,
            value: Bytes::from_static(&[0xc0]),
        };
        Ok((Bytes::from_static(key.as_bytes()), Some(record)))
    }

    #[test]
    fn what_is_there_only_now_comes_as_none_in_the_order_of_keys() {
        let there = ["b", "c", "e"].map(state).into_iter();
        let now = ["a", "b", "d", "f", "g"].map(state).into_iter();
        let merged = with_new(there, now).map(|state| {
            let (key, record) = state.unwrap();
            (String::from_utf8(key.to_vec()).unwrap(), record.is_some())
        });
        let expected = [
            ("a", false),
            ("b", true),
            ("c", true),
            ("d", false),
            ("e", true),
            ("f", false),
            ("g", false),
        ];
        let expected = expected.map(|(key, is)| (key.to_owned(), is));
        assert_eq!(merged.collect::<Vec<_>>(), expected);
    }
}

//! Moments that have a label: records of the reserved collection `@mark`, by label.
//!
//! A label is a commit that writes nothing else. Who restores the store up to that commit has exactly what was committed
//! before it, in all namespaces, since there is one log. So a label is unique in the whole store.
//!
//! The store labels the moments before what changes much of it, by itself ([`Store::mark_before`]).

use std::{
    borrow::Cow,
    cmp::Reverse,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use stillpoint_proto::{
    name::check_label,
    v1::{Mark, Reason, StoreError},
};
use tokio::sync::oneshot;

use super::{
    clock::now_ms,
    handle::Store,
    keys::{self, System},
    own_record::{Committed, OwnRecord},
    read,
    record::Record,
};

/// Most bytes of what is said of a moment.
const NOTE_BYTES_MAX: usize = 4096;

/// Most bytes of the name that somebody gives himself.
const ACTOR_BYTES_MAX: usize = 128;

/// The value of a label's record: a map, to which fields are only ever added.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    time_ms: u64,
    note: String,
    actor: String,
}

impl Store {
    /// Labels this moment; `reply` is told its commit once that is durable. It is called on the writer's thread, so it must
    /// not block. Gives the time that is written down, in milliseconds since 1970.
    pub fn mark(
        &self,
        namespace: &str,
        label: &str,
        note: &str,
        actor: &str,
        reply: impl FnOnce(Result<Committed, StoreError>) + Send + 'static,
    ) -> Result<u64, StoreError> {
        check_label(label).map_err(|message| StoreError::new(Reason::Invalid, message))?;
        check_text("note", note, NOTE_BYTES_MAX)?;
        check_text("name of who asks", actor, ACTOR_BYTES_MAX)?;
        self.check_is_written(namespace)?;
        let time_ms = now_ms();
        let stored = Stored {
            time_ms,
            note: note.into(),
            actor: actor.into(),
        };
        self.write_own(OwnRecord {
            namespace: namespace.into(),
            system: System::Mark,
            name: Bytes::copy_from_slice(label.as_bytes()),
            value: stored.encode(),
            expires_at_ms: 0,
            is_new: true,
            reply: Box::new(reply),
        });
        Ok(time_ms)
    }

    /// Labels this moment as the one before something that changes much: a `reload`, a `migration`, a `restore`. In
    /// `namespace`, or where the store writes [what concerns it](Self::home_namespace).
    /// Gives the label once it is durable. `None`: there is none, which is logged with its reason, and stands in
    /// nobody's way; a store that takes no writes has none. Note and actor are shortened to what fits.
    pub async fn mark_before(
        &self,
        namespace: &str,
        what: &str,
        note: &str,
        actor: &str,
    ) -> Option<String> {
        let marked = self.label_before(namespace, what, note, actor).await;
        marked.unwrap_or_else(|error| {
            tracing::warn!(what, namespace, %error, "a moment has no label");
            None
        })
    }

    /// The same for who does not go on without it. `None`: nothing was ever written, so there is nothing to come back to.
    pub async fn label_before(
        &self,
        namespace: &str,
        what: &str,
        note: &str,
        actor: &str,
    ) -> Result<Option<String>, StoreError> {
        let Some(namespace) = self.home_namespace(namespace) else {
            return Ok(None);
        };
        let label = label_before(what, now_ms());
        let (note, actor) = (
            shortened(note, NOTE_BYTES_MAX),
            shortened(actor, ACTOR_BYTES_MAX),
        );
        let (told, committed) = oneshot::channel();
        self.mark(&namespace, &label, &note, &actor, |committed| {
            // Who has gone away wants no answer.
            drop(told.send(committed));
        })?;
        let committed = committed.await.unwrap_or_else(|_| {
            let message = "the server stopped before the label was written";
            Err(StoreError::new(Reason::Unavailable, message))
        });
        committed.map(|_| Some(label))
    }

    /// The labelled moments of a namespace, newest first; of all namespaces, if it is empty.
    pub fn marks(&self, namespace: &str) -> Result<Vec<Mark>, StoreError> {
        let mut marks = Vec::new();
        let reader = self.reader();
        let snapshot = reader.snapshot();
        let namespaces = snapshot.namespaces().map(|(name, _)| name);
        for namespace in namespaces.filter(|name| namespace.is_empty() || *name == namespace) {
            for pair in snapshot.scan(keys::systems(namespace, System::Mark, b""), false) {
                let (key, record) = pair.map_err(read::engine_failed)?;
                marks.push((namespace.to_owned(), key, record));
            }
        }
        drop(reader);
        let marks = marks.into_iter().map(|(namespace, key, record)| {
            let (_, _, label) = keys::split_system(&key)
                .ok_or_else(|| StoreError::new(Reason::Internal, "a label's key is malformed"))?;
            let record = read::decode(&record)?;
            let stored = Stored::decode(&record)?;
            Ok(Mark {
                namespace,
                label: String::from_utf8_lossy(label).into_owned(),
                revision: record.mod_rev,
                time_ms: stored.time_ms,
                note: stored.note,
                actor: stored.actor,
            })
        });
        let mut marks = marks.collect::<Result<Vec<_>, StoreError>>()?;
        marks.sort_by_key(|mark| Reverse((mark.time_ms, mark.revision)));
        Ok(marks)
    }

    /// Refuses a namespace that was never written: a label would make it.
    fn check_is_written(&self, namespace: &str) -> Result<(), StoreError> {
        let reader = self.reader();
        if reader.revision(namespace) > 0 {
            return Ok(());
        }
        let mut written: Vec<_> = (reader.snapshot().namespaces())
            .map(|(name, _)| name)
            .collect();
        written.sort_unstable();
        let remedy = match written.is_empty() {
            true => "the store is empty, so there is nothing to come back to".into(),
            false => format!("name one that was: {}", written.join(", ")),
        };
        let message = format!("nothing was ever written in namespace {namespace}: {remedy}");
        Err(StoreError::new(Reason::Invalid, message))
    }
}

impl Stored {
    fn encode(&self) -> Bytes {
        rmp_serde::to_vec_named(self)
            .expect("a label is always encodable")
            .into()
    }

    fn decode(record: &Record) -> Result<Stored, StoreError> {
        rmp_serde::from_slice(&record.value)
            .map_err(|e| StoreError::new(Reason::Internal, format!("a label's record: {e}")))
    }
}

/// `before-reload-20261123T140500.123Z`: letters that labels may have, and in the order of time.
fn label_before(what: &str, time_ms: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(time_ms);
    let mut time = humantime::format_rfc3339_millis(time).to_string();
    time.retain(|c| !matches!(c, '-' | ':'));
    format!("before-{what}-{time}")
}

/// A text that fits.
fn shortened(text: &str, bytes_max: usize) -> Cow<'_, str> {
    const MORE: &str = " ...";
    match text.len() <= bytes_max {
        true => text.into(),
        false => {
            let kept = text.floor_char_boundary(bytes_max - MORE.len());
            format!("{}{MORE}", &text[..kept]).into()
        }
    }
}

fn check_text(what: &str, text: &str, bytes_max: usize) -> Result<(), StoreError> {
    if text.len() <= bytes_max {
        return Ok(());
    }
    let message = format!(
        "the {what} has {} bytes: use at most {bytes_max}",
        text.len()
    );
    Err(StoreError::new(Reason::Invalid, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_shortened_at_a_letter() {
        assert_eq!(shortened("abc", 8), "abc");
        assert_eq!(shortened("abcdefgh", 8), "abcdefgh");
        assert_eq!(shortened("abcdefghi", 8), "abcd ...");
        assert_eq!(shortened("abc\u{e9}fghi", 8), "abc ...");
    }

    #[test]
    fn a_label_of_the_store_says_what_it_is_before_and_when() {
        let label = label_before("reload", 1_795_442_400_123);
        assert_eq!(label, "before-reload-20261123T140000.123Z");
        assert_eq!(check_label(&label), Ok(()));
    }
}

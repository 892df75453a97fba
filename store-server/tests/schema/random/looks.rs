//! What everybody sees, held against the functions by hand.

use std::collections::BTreeMap;

use stillpoint_proto::v1::{Reason, Record, StoreError, WatchEventType};

use super::{KEYS, Run, Told};
use crate::{
    steps::travel,
    world::{Doc, decode, refused, seen},
};

impl Run {
    /// Everybody is told every record in his version, in every way.
    pub(super) async fn see_reads(&mut self) {
        for peer in 0..self.peers.len() {
            for key in KEYS {
                let expected = self.expected(key, self.spoken(peer));
                let found = self.peers[peer].caller.read(key).await;
                was_told(found, expected, key);
            }
        }
    }

    /// Everybody who watches was told all that was written, in his version.
    pub(super) async fn see_watches(&mut self) {
        let now = self.world.revision();
        for place in 0..self.peers.len() {
            let version = self.spoken(place);
            let peer = &mut self.peers[place];
            let told = peer.watcher.until(now).await;
            let told = told
                .into_iter()
                .map(|(revision, kind, key, record)| (revision, kind, key, in_stream(record)));
            let written = self.written.iter().filter(|w| w.0 > peer.since);
            let expected = written.map(|(revision, kind, key, stored, doc)| {
                let doc = travel(&self.chain, *stored, version, doc);
                let doc = doc.map(|doc| (version, doc));
                (*revision, *kind, (*key).to_owned(), doc)
            });
            assert_eq!(
                told.collect::<Vec<_>>(),
                expected.collect::<Vec<_>>(),
                "watched by {:?}",
                peer.version
            );
            peer.since = now;
        }
    }

    /// A watch that begins with the state is told that in its version, too.
    pub(super) async fn see_states(&mut self) {
        let now = self.world.revision();
        for peer in 0..self.peers.len() {
            let mut watcher = self.world.watch(&self.peers[peer].caller, true).await;
            let told = watcher.until(now).await.into_iter();
            let told: BTreeMap<_, _> = told
                .map(|(_, kind, key, record)| {
                    assert_eq!(kind, WatchEventType::Put);
                    (key, in_stream(record))
                })
                .collect();
            let expected = KEYS.iter().filter_map(|key| {
                let (version, doc) = self.expected(key, self.spoken(peer))?;
                Some(((*key).to_owned(), doc.map(|doc| (version, doc))))
            });
            assert_eq!(told, expected.collect());
        }
    }
}

/// Checks the answer to a read of a record, and whether there is one.
#[track_caller]
pub(super) fn was_told(
    found: Result<Option<Record>, StoreError>,
    expected: Option<Told>,
    key: &str,
) -> bool {
    match expected {
        None => assert_eq!(found, Ok(None), "{key}"),
        Some((version, Some(doc))) => assert_eq!(seen(found), (version, doc), "{key}"),
        Some((_, None)) => {
            refused(found, Reason::MigrationFailed, &[key, "cannot be that"]);
            return false;
        }
    }
    true
}

/// A record as it is told where others follow it, with its version; none: it is unreadable.
#[track_caller]
fn in_stream(record: Option<Record>) -> Option<(u32, Doc)> {
    let record = record.expect("nothing is deleted");
    if record.unreadable.is_empty() {
        Some((record.schema, decode(&record.value)))
    } else {
        assert!(record.unreadable.contains("cannot be that"), "{record:?}");
        assert!(record.value.is_empty(), "{record:?}");
        None
    }
}

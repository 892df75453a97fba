//! Labelled moments, and the history of one record.

use std::{ops::ControlFlow, path::Path, sync::mpsc};

use stillpoint_proto::v1::{Op, Reason, StoreError};
use stillpoint_store_server::{
    config::EngineKind,
    store::{
        Committed, Store,
        history::{End, HistoryOf, Told, Written},
    },
};

use crate::common::{NAMESPACE, config, delete, key, put, txn, value};

fn open(dir: &Path) -> Store {
    Store::open(config(dir, EngineKind::Memory)).unwrap()
}

fn mark(store: &Store, namespace: &str, label: &str) -> Result<Committed, StoreError> {
    let (told, committed) = mpsc::channel();
    store.mark(namespace, label, "why", "ann", move |committed| {
        told.send(committed).unwrap();
    })?;
    committed.recv().unwrap()
}

fn do_all(store: &Store, ops: impl IntoIterator<Item = Op>) {
    for op in ops {
        store.execute(NAMESPACE, op).unwrap();
    }
}

fn of(name: &str, limit: usize) -> HistoryOf {
    HistoryOf {
        namespace: NAMESPACE.into(),
        key: key("c", name.to_owned()).unwrap(),
        before_revision: u64::MAX,
        before_seq: u64::MAX,
        read_bytes_max: u64::MAX,
        limit,
    }
}

fn history(store: &Store, of: &HistoryOf) -> (Vec<Written>, End) {
    let mut found = Vec::new();
    let end = store.history(of, |told| {
        if let Told::Written(written) = told {
            found.push(written);
        }
        ControlFlow::Continue(())
    });
    (found, end.unwrap())
}

fn revisions(found: &[Written]) -> Vec<u64> {
    found.iter().map(|written| written.revision).collect()
}

#[test]
fn a_label_is_a_commit_that_is_listed_and_outlives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    do_all(&store, [put("a", "1")]);
    let first = mark(&store, NAMESPACE, "before-import").unwrap();
    assert_eq!((first.revision, first.seq), (2, 2));
    do_all(&store, [put("a", "2")]);
    store.execute("other", put("a", "2")).unwrap();
    let second = mark(&store, "other", "after").unwrap();
    assert_eq!((second.revision, second.seq), (2, 5));
    store.close();
    drop(store);

    let store = open(dir.path());
    let labels = |namespace| -> Vec<_> {
        let marks = store.marks(namespace).unwrap().into_iter();
        marks.map(|mark| (mark.label, mark.revision)).collect()
    };
    let (before, after) = (("before-import".to_owned(), 2), ("after".to_owned(), 2));
    assert_eq!(labels(NAMESPACE), std::slice::from_ref(&before));
    let mut all = labels("");
    // Both may be of the same millisecond.
    all.sort();
    assert_eq!(all, [after, before]);
    let marks = store.marks(NAMESPACE).unwrap();
    assert_eq!((&*marks[0].note, &*marks[0].actor), ("why", "ann"));
    assert!(marks[0].time_ms > 0);
    assert_eq!(
        store.status().namespaces[1].records,
        1,
        "labels do not count"
    );
    store.close();
}

#[test]
fn a_label_is_refused_where_it_is_taken_malformed_or_would_make_a_namespace() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let error = mark(&store, NAMESPACE, "x").unwrap_err();
    assert!(error.message.contains("the store is empty"), "{error}");
    do_all(&store, [put("a", "1")]);
    store.execute("other", put("a", "1")).unwrap();
    mark(&store, NAMESPACE, "x").unwrap();
    for namespace in [NAMESPACE, "other"] {
        let error = mark(&store, namespace, "x").unwrap_err();
        assert_eq!(error.reason(), Reason::VersionConflict);
        assert!(
            error
                .message
                .starts_with("x exists already: revision 2 of namespace world"),
            "{error}"
        );
    }
    let error = mark(&store, NAMESPACE, "14:05").unwrap_err();
    assert_eq!(error.reason(), Reason::Invalid);
    let error = mark(&store, "wrold", "y").unwrap_err();
    assert!(
        error.message.ends_with("name one that was: other, world"),
        "{error}"
    );
    store.close();
}

#[test]
fn a_history_is_told_newest_first_over_all_segments() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    do_all(&store, [put("a", "{\"gold\": 1}"), put("b", "0")]);
    do_all(&store, (2..40).map(|n| put("b", &n.to_string())));
    do_all(
        &store,
        [
            txn(vec![put("a", "{\"gold\": 2}"), put("b", "1")]),
            delete("a"),
        ],
    );
    let (found, end) = history(&store, &of("a", usize::MAX));
    assert_eq!(revisions(&found), [42, 41, 1]);
    assert_eq!(found[0].record, None, "deleted");
    let changed = found[1].record.as_ref().unwrap();
    assert_eq!((changed.version, found[1].records_written), (2, 2));
    assert_eq!(changed.value, value("{\"gold\": 2}"));
    assert_eq!(found[2].seq, 1);
    assert_eq!(end.next_seq, 0);
    assert_eq!((end.log_first_seq, end.log_first_ms), (1, found[2].time_ms));

    let (newest, end) = history(&store, &of("b", 3));
    assert_eq!(revisions(&newest), [41, 40, 39]);
    assert_eq!(end.next_seq, 39);
    let older = HistoryOf {
        before_revision: 39,
        ..of("b", 2)
    };
    assert_eq!(revisions(&history(&store, &older).0), [38, 37]);
    let (none, end) = history(&store, &of("nobody", 1));
    assert_eq!((none.len(), end.next_seq), (0, 0));
    store.close();
}

#[test]
fn a_history_ends_where_its_reader_does_not_want_more() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    do_all(&store, (0..30).map(|n| put("a", &n.to_string())));
    let mut told = 0;
    let end = store.history(&of("a", usize::MAX), |_| {
        told += 1;
        ControlFlow::Break(())
    });
    assert_eq!((told, end.unwrap().next_seq), (1, 30));
    store.close();
}

#[test]
fn a_history_that_reads_a_part_of_the_log_at_a_time_misses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for n in 0..200 {
        let name = if n % 7 == 0 { "rare" } else { "often" };
        do_all(&store, [put(name, &n.to_string())]);
    }
    let (all, _) = history(&store, &of("rare", usize::MAX));
    assert_eq!(all.len(), 29);
    for limit in [1, 3, usize::MAX] {
        let mut part = HistoryOf {
            read_bytes_max: 1,
            ..of("rare", limit)
        };
        let (mut found, mut parts) = (Vec::new(), 0);
        loop {
            let (more, end) = history(&store, &part);
            assert!(more.len() <= limit);
            found.extend(more);
            parts += 1;
            if end.next_seq == 0 {
                break;
            }
            assert!(end.next_seq < part.before_seq, "it gets on");
            part.before_seq = end.next_seq;
        }
        assert_eq!(found, all);
        assert!(parts > 5, "{parts} parts");
    }
    store.close();
}

//! Where a watch begins.

use std::collections::BTreeMap;

use bytes::Bytes;
use stillpoint_proto::v1::{Reason, SetCursorOp, WatchRequest, op, watch_request::Start};
use stillpoint_store_server::store::feed::Position;

use crate::common::{ENGINES, Server, all, delete, op, put, put_large, refusal, txn};

fn from(start: Start) -> WatchRequest {
    WatchRequest {
        start: Some(start),
        ..all()
    }
}

fn set_cursor(server: &Server, name: &str, position: Bytes) {
    let name = Bytes::copy_from_slice(name.as_bytes());
    server.execute(op(op::Kind::SetCursor(SetCursorOp { name, position })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_after_any_revision_that_the_log_has() {
    for engine in ENGINES {
        let mut server = Server::new(engine);
        for n in 1..=60 {
            server.put("a", n);
            server.store.execute("moon", put("c", "a", n)).unwrap();
        }
        for life in 0..2 {
            for after in [0, 1, 30, 59, 60] {
                let mut listener = server.listen(from(Start::AfterRevision(after))).await;
                assert_eq!(listener.revision, after, "life {life}");
                listener.until(60).await;
                assert_eq!(listener.revisions(), (after + 1..=60).collect::<Vec<_>>());
                assert!(listener.resyncs.is_empty());
            }
            let future = server.try_listen(from(Start::AfterRevision(61))).await;
            assert_eq!(refusal(future), Reason::Invalid);
            server = server.restart();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_where_it_was_in_all_lives_of_the_store() {
    for engine in ENGINES {
        let mut server = Server::new(engine);
        let mut position = server.listen(all()).await.position;
        let mut revision = 0;
        for life in 1..=3 {
            for n in 0..30 {
                server.put("a", n);
            }
            let mut listener = server.listen(from(Start::Position(position))).await;
            listener.until(revision + 20).await;
            // Written after it began, told behind what was before.
            server.put("b", 1);
            let end = server.revision();
            listener.until(end).await;
            assert_eq!(
                listener.revisions(),
                (revision + 1..=end).collect::<Vec<_>>()
            );
            assert!(listener.resyncs.is_empty(), "life {life}");
            (position, revision) = (listener.position.clone(), listener.revision);
            drop(listener);
            server = server.restart();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_the_store_cannot_know_gets_the_state() {
    let server = Server::new(ENGINES[1]);
    (0..9).for_each(|n| server.put("a", n));
    let listener = server.listen(all()).await;
    let known = Position::decode(&listener.position).unwrap();
    let other = |change: fn(&mut Position)| {
        let mut position = known;
        change(&mut position);
        position
    };
    for position in [
        other(|p| p.incarnation += 1),
        other(|p| p.seq += 1),
        other(|p| p.revision += 1),
        other(|p| (p.revision, p.seq) = (3, 5)),
    ] {
        let mut listener = server
            .listen(from(Start::Position(position.encode())))
            .await;
        while listener.resyncs.is_empty() {
            listener.next().await;
        }
        listener.until(9).await;
        assert_eq!(listener.state, server.state(&["c"]), "{position:?}");
        assert!(listener.commits.is_empty());
    }
    let none = server
        .try_listen(from(Start::Position("none".into())))
        .await;
    assert_eq!(refusal(none), Reason::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_a_position_that_the_store_keeps() {
    let mut server = Server::new(ENGINES[0]);
    server.put("a", 1);
    let listener = server.listen(all()).await;
    set_cursor(&server, "mine", listener.position.clone());
    drop(listener);
    server.put("a", 2);
    server = server.restart();
    let mut listener = server
        .listen(WatchRequest {
            snapshot: true,
            ..from(Start::Cursor("mine".into()))
        })
        .await;
    server.put("a", 3);
    listener.until(4).await;
    assert_eq!(listener.revisions(), [3, 4], "2 set the cursor");
    assert!(listener.resyncs.is_empty());

    let missing = from(Start::Cursor("none".into()));
    let mut from_now = server.listen(missing.clone()).await;
    let mut with_state = server
        .listen(WatchRequest {
            snapshot: true,
            ..missing
        })
        .await;
    server.put("b", 1);
    from_now.until(5).await;
    with_state.until(5).await;
    assert_eq!(from_now.revisions(), [5]);
    assert_eq!(with_state.state, server.state(&["c"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_the_state_at_one_revision_though_it_changes_meanwhile() {
    for engine in ENGINES {
        let server = Server::with(engine, |config| config.limits.scan_page = 4);
        let names: Vec<_> = (0..40).map(|n| format!("{n:02}")).collect();
        names.iter().for_each(|name| server.put(name, 1));
        server.execute(put("zone", "z", 1));
        let mut listener = server
            .listen(WatchRequest {
                snapshot: true,
                ..all()
            })
            .await;
        // A write behind each message, before, at and behind the page: changed, made anew, deleted, moved.
        let mut n = 0;
        let mut states = BTreeMap::from([(41, server.state(&["c", "zone"]))]);
        while listener.revision == 0 {
            listener.next().await;
            if n < 12 {
                let at = |offset: usize| names[(n * 3 + offset) % 40].as_str();
                server.execute(txn(vec![
                    put("c", at(0), 2),
                    delete("c", at(13)),
                    put("c", &format!("new{n:02}"), 3),
                    put("zone", "z", 4),
                ]));
                n += 1;
                states.insert(server.revision(), server.state(&["c", "zone"]));
            }
        }
        assert!(n >= 10, "it was told in pages");
        assert_eq!(listener.state, states[&listener.revision]);
        server.put("end", 1);
        listener.until(server.revision()).await;
        assert_eq!(listener.state, server.state(&["c", "zone"]));
        assert_eq!(listener.resyncs.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_one_key_or_prefix_is_of_nothing_else() {
    let server = Server::new(ENGINES[0]);
    for key in ["a", "a\0", "ab", "b"] {
        server.put(key, 1);
    }
    server.execute(put("cc", "a", 1));
    server.store.execute("world2", put("c", "a", 1)).unwrap();
    for (collection, key, prefix, told) in [
        ("c", "a", "", vec!["a"]),
        ("c", "", "a", vec!["a", "a\0", "ab"]),
        ("cc", "", "", vec!["a"]),
        ("c", "x", "", vec![]),
        ("", "", "", vec!["a", "a\0", "ab", "b", "a"]),
    ] {
        let mut listener = server
            .listen(WatchRequest {
                collection: collection.into(),
                key: Bytes::copy_from_slice(key.as_bytes()),
                prefix: Bytes::copy_from_slice(prefix.as_bytes()),
                snapshot: true,
                ..all()
            })
            .await;
        listener.until(5).await;
        let keys: Vec<_> = listener.state.keys().map(|(_, key)| key.clone()).collect();
        assert_eq!(keys, told, "{collection} {key} {prefix}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_large_records_comes_in_messages_of_a_bounded_size() {
    let server = Server::with(ENGINES[1], |config| {
        config.limits.message_bytes = 64 << 10;
        config.limits.value_bytes = 16 << 10;
    });
    for n in 0..20 {
        server.execute(put_large(&format!("{n:02}"), n, 10_000));
    }
    let mut listener = server
        .listen(WatchRequest {
            snapshot: true,
            ..all()
        })
        .await;
    while listener.revision < 20 {
        if let stillpoint_proto::v1::watch_response::Kind::ResyncData(data) = listener.next().await
        {
            assert!(data.events.len() <= 4, "{} records", data.events.len());
        }
    }
    assert_eq!(listener.state, server.state(&["c"]));
}

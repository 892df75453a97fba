//! What is told of commits as they come, and what is not.

use bytes::Bytes;
use stillpoint_proto::v1::{
    Durability, PutOp, Reason, WatchEventType, WatchRequest, op, watch_response::Kind,
};
use stillpoint_store_server::{service::Gauges, store::session};

use crate::common::{
    ENGINES, NAMESPACE, Server, all, delete, key, name, op, put, put_large, refusal, txn, write,
};

#[tokio::test(flavor = "multi_thread")]
async fn every_commit_is_told_once_whole_and_in_order() {
    for engine in ENGINES {
        let server = Server::new(engine);
        server.put("before", 1);
        let mut listener = server.listen(all()).await;
        for n in 0..200_u8 {
            let n = n % 100;
            server.execute(txn(vec![put("d", "b", n), put("c", "a", n)]));
        }
        server.execute(delete("c", "a"));
        listener.until(202).await;
        assert_eq!(listener.revisions(), (2..=202).collect::<Vec<_>>());
        for commit in &listener.commits[..200] {
            let told: Vec<_> = commit.events.iter().map(name).collect();
            let both = [("c".into(), Bytes::from("a")), ("d".into(), "b".into())];
            assert_eq!(told, both, "a commit is whole");
        }
        assert!(listener.resyncs.is_empty());
        let mut state = server.state(&["c", "d"]);
        state.remove(&("c".into(), "before".into()));
        assert_eq!(listener.state, state);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_watched_is_told_and_the_place_moves_on_all_the_same() {
    let server = Server::new(ENGINES[1]);
    let of = |collection: &str, key: &str, prefix: &str| WatchRequest {
        collection: collection.into(),
        key: Bytes::copy_from_slice(key.as_bytes()),
        prefix: Bytes::copy_from_slice(prefix.as_bytes()),
        ..all()
    };
    let mut by_key = server.listen(of("c", "a", "")).await;
    let mut by_prefix = server.listen(of("c", "", "a")).await;
    let mut by_collection = server.listen(of("c", "", "")).await;
    let mut elsewhere = server.listen(of("e", "", "")).await;
    for (collection, key) in [("c", "a"), ("c", "ab"), ("c", "b"), ("cc", "a"), ("d", "a")] {
        server.execute(put(collection, key, 1));
    }
    for (listener, told) in [
        (&mut by_key, vec![1]),
        (&mut by_prefix, vec![1, 2]),
        (&mut by_collection, vec![1, 2, 3]),
        (&mut elsewhere, vec![]),
    ] {
        // A bookmark tells the rest.
        listener.until(5).await;
        assert_eq!(listener.revisions(), told);
    }
    let place = stillpoint_store_server::store::feed::Position::decode(&elsewhere.position);
    assert_eq!(place.map(|place| place.seq), Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_hears_of_its_own_namespace_and_of_no_record_of_the_store_itself() {
    let server = Server::new(ENGINES[1]);
    let mut listener = server.listen(all()).await;
    let mut other = all();
    other.context.get_or_insert_default().namespace = "moon".into();
    let mut other = server.listen(other).await;
    for n in 0..20 {
        server.put("a", n);
        server.store.execute("moon", put("c", "a", n)).unwrap();
    }
    open_session(&server);
    server.put("a", 1);
    listener.until(22).await;
    other.until(20).await;
    let clients: Vec<u64> = (1..=20).chain([22]).collect();
    assert_eq!(listener.revisions(), clients, "21 opened the session");
    assert_eq!(other.revisions(), (1..=20).collect::<Vec<_>>());
    assert_eq!(listener.state.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_and_own_commits_can_be_left_out() {
    let server = Server::new(ENGINES[1]);
    let (session, fence) = open_session(&server);
    let mut request = WatchRequest {
        skip_own: true,
        keys_only: true,
        ..all()
    };
    request.context.get_or_insert_default().session_id = session.clone();
    let mut listener = server.listen(request).await;
    let own = (session.as_str(), fence);
    write(&server.store, own, Durability::Synced, put("c", "own", 1));
    server.put("other", 2);
    listener.until(3).await;
    assert_eq!(listener.revisions(), [3]);
    let record = &listener.state[&("c".into(), "other".into())];
    assert_eq!((record.value.len(), record.mod_rev), (0, 3));

    let mut listener = server.listen(all()).await;
    write(&server.store, own, Durability::Synced, put("c", "own", 1));
    listener.until(4).await;
    assert_eq!(listener.commits[0].session_id, session);
}

fn open_session(server: &Server) -> (String, u64) {
    let (sender, receiver) = crossbeam_channel::bounded(1);
    let open = session::SessionChange::Open(session::Open {
        service: "battle".into(),
        instance: "1".into(),
        expected_fence: 0,
        ttl_ms: 10_000,
        labels: Default::default(),
        code_version: String::new(),
        client_name: String::new(),
        schemas: Default::default(),
    });
    let reply = move |result| drop(sender.send(result));
    server.store.change_session(NAMESPACE, open, reply);
    let session = receiver.recv().unwrap().unwrap().unwrap();
    (session.id.to_string(), session.fence)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_lifetime_is_told_as_such() {
    let server = Server::new(ENGINES[1]);
    let mut listener = server.listen(all()).await;
    server.execute(op(op::Kind::Put(PutOp {
        key: key("c", "short"),
        value: vec![1].into(),
        ttl_ms: 1,
        ..PutOp::default()
    })));
    listener.until(2).await;
    let last = &listener.commits[1].events[0];
    assert_eq!(last.r#type(), WatchEventType::Expire);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_before_the_sync_is_told_after_it() {
    let server = Server::with(ENGINES[1], |config| config.log.applied_sync_ms = 300);
    let mut listener = server.listen(all()).await;
    for n in 1..=3 {
        let op = put("c", "a", n);
        write(&server.store, ("", 0), Durability::Applied, op);
        let revision = u64::from(n);
        assert!(server.store.status().log.synced_seq < revision, "not yet");
        listener.until(revision).await;
        assert!(server.store.status().log.synced_seq >= revision);
    }
    // Nor does a watch begin with what is not durable.
    write(
        &server.store,
        ("", 0),
        Durability::Applied,
        put("c", "a", 4),
    );
    let listener = server.listen(all()).await;
    assert_eq!(listener.revision, 4);
    assert!(server.store.status().log.synced_seq >= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_larger_than_a_message_is_told_in_parts() {
    let server = Server::with(ENGINES[1], |config| {
        config.limits.message_bytes = 64 << 10;
        config.limits.value_bytes = 16 << 10;
    });
    let mut listener = server.listen(all()).await;
    let keys: Vec<_> = (0..20).map(|n| format!("{n:02}")).collect();
    let puts = keys.iter().map(|key| put_large(key, 1, 10_000));
    server.execute(txn(puts.collect()));
    server.put("00", 1);
    let before = listener.position.clone();
    let Kind::Commits(first) = listener.next().await else {
        panic!("not commits");
    };
    assert!(first.commits[0].more && first.commits[0].events.len() < 5);
    assert_eq!(
        listener.position, before,
        "it is not told until it is whole"
    );
    listener.until(2).await;
    assert_eq!(listener.commits[0].events.len(), 20);
    assert_eq!(listener.state, server.state(&["c"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_watch_too_many_is_refused_by_name_and_has_room_when_another_ends() {
    let server = Server::with(ENGINES[1], |config| config.limits.watches = 2);
    let first = server.listen(all()).await;
    let _second = server.listen(all()).await;
    assert_eq!(Gauges::load(&server.gauges.watches), 2);
    let error = server.try_listen(all()).await.map(drop).unwrap_err();
    assert_eq!(error.reason(), Reason::Quota);
    assert!(error.message.contains("limits.watches"), "{error}");
    drop(first);
    server.listen(all()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_ends_its_watches() {
    let server = Server::new(ENGINES[1]);
    let mut listener = server.listen(all()).await;
    server.stop();
    let end = listener.try_next().await.expect("why it ends");
    assert_eq!(end.unwrap_err().reason(), Reason::Unavailable);
    assert!(listener.try_next().await.is_none());
    drop(listener);
    assert_eq!(Gauges::load(&server.gauges.watches), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_watched_is_refused() {
    let server = Server::new(ENGINES[1]);
    let request = |change: fn(&mut WatchRequest)| {
        let mut request = all();
        change(&mut request);
        server.try_listen(request)
    };
    for change in [
        (|r| r.collection = "No Name".into()) as fn(&mut WatchRequest),
        |r| r.key = "a".into(),
        |r| r.prefix = "a".into(),
        |r| {
            r.collection = "c".into();
            r.key = "a".into();
            r.prefix = "a".into();
        },
        |r| r.collection = "@session".into(),
        |r| r.context = None,
    ] {
        assert_eq!(refusal(request(change).await), Reason::Invalid);
    }
}

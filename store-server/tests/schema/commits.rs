//! How versions are changed, and what is written meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};

use stillpoint_proto::v1::{
    CommitOrigin, HistoryOp, Reason, StoreError, op, op_result::Kind as Answer,
};
use stillpoint_store_server::store::{
    keys::{self, System},
    schema::{
        Done, Failed, Rewritten, SchemaCommit,
        state::{self, Quarantined, SchemaState},
    },
};

use crate::{
    sessions::scripts,
    world::{COLLECTION, NAMESPACE, World, doc, encode, key, refused, seen, setting},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_has_seen_another_state_is_refused() {
    let world = World::new().await;
    world.publish(scripts());
    refused(
        world.commit(setting(NAMESPACE, 1, 7)),
        Reason::VersionConflict,
        &["game/player", "stillpoint migrate status"],
    );
    let first = world.apply(NAMESPACE, 1).committed.revision;
    assert_eq!(world.revision_of_state(NAMESPACE), first);
    for seen_rev in [0, first + 1] {
        refused(
            world.commit(setting(NAMESPACE, 2, seen_rev)),
            Reason::VersionConflict,
            &[],
        );
    }
    world.commit(setting(NAMESPACE, 2, first)).unwrap();
    assert_eq!(
        world.store.schemas().version(NAMESPACE, COLLECTION),
        Some(2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_sees_sessions_and_versions_as_they_are_and_may_refuse() {
    let world = World::new().await;
    world.publish(scripts());
    let session = world.session("1", None).await.unwrap();
    let refusing = |speaks: u32| SchemaCommit {
        check: Some(Box::new(move |index, table| {
            assert_eq!(table.version(NAMESPACE, COLLECTION), None);
            match index
                .sessions()
                .any(|(_, s)| s.speaks(COLLECTION) == speaks)
            {
                true => Err(StoreError::new(Reason::Unavailable, "somebody is there")),
                false => Ok(()),
            }
        })),
        ..setting(NAMESPACE, 1, 0)
    };
    refused(
        world.commit(refusing(session.speaks(COLLECTION))),
        Reason::Unavailable,
        &["somebody is there"],
    );
    assert_eq!(world.store.schemas().version(NAMESPACE, COLLECTION), None);
    world.commit(refusing(9)).unwrap();
    assert_eq!(
        world.store.schemas().version(NAMESPACE, COLLECTION),
        Some(1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_since_counts_neither_as_rewritten_nor_as_failed() {
    let world = World::new().await;
    world.publish(scripts());
    let mut anybody = world.anybody().await;
    for name in ["ann", "bob", "eve", "tom"] {
        anybody.put(name, &doc([("gold", 5)])).await.unwrap();
    }
    let seen_rev = world.apply(NAMESPACE, 1).committed.revision;
    let read = |name: &str| {
        let view_key = keys::record(NAMESPACE, COLLECTION, name.as_bytes());
        let record = world.store.reader().record(&view_key).unwrap().unwrap();
        (view_key, record.mod_rev)
    };
    let records = ["ann", "bob"].map(read).map(|(key, seen_rev)| Rewritten {
        key,
        seen_rev,
        value: encode(&doc([("gold", 5), ("level", 7)])),
        schema: 1,
    });
    let failed = ["eve", "tom"].map(|name| {
        let (key, seen_rev) = read(name);
        Failed {
            key,
            seen_rev,
            name: state::quarantine_name(COLLECTION, name.as_bytes()),
            entry: state::encode(&Quarantined::default()),
        }
    });
    for name in ["bob", "eve"] {
        anybody.set(name, "gold", 1).await.unwrap();
    }
    let progress = |done: &Done| {
        assert_eq!(done.failed, [1]);
        state::encode(&SchemaState {
            version: 1,
            rewritten: done.rewritten as u64,
            ..SchemaState::default()
        })
    };
    let committed = world.commit(SchemaCommit {
        namespace: NAMESPACE.into(),
        state: Some((COLLECTION.into(), seen_rev)),
        records: records.into(),
        failed: failed.into(),
        progress: Some(Box::new(progress)),
        ..SchemaCommit::default()
    });
    assert_eq!(committed.unwrap().rewritten, 1);
    let table = world.store.schemas();
    let state = &table.state(NAMESPACE, COLLECTION).unwrap().state;
    assert_eq!((state.version, state.rewritten), (1, 1));
    let entry = |name: &str| {
        let name = state::quarantine_name(COLLECTION, name.as_bytes());
        let view_key = keys::system(NAMESPACE, System::Quarantine, &name);
        world.store.reader().record(&view_key).unwrap().is_some()
    };
    assert_eq!((entry("eve"), entry("tom")), (false, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_written_since_is_left_alone_and_histories_tell_what_was_not() {
    let world = World::new().await;
    world.publish(scripts());
    let mut anybody = world.anybody().await;
    anybody.put("ann", &doc([("gold", 5)])).await.unwrap();
    anybody.put("bob", &doc([("gold", 6)])).await.unwrap();
    world.apply(NAMESPACE, 1);
    let rewritten = |name: &str, fields| {
        let view_key = keys::record(NAMESPACE, COLLECTION, name.as_bytes());
        let record = world.store.reader().record(&view_key).unwrap().unwrap();
        Rewritten {
            key: view_key,
            seen_rev: record.mod_rev,
            value: encode(&fields),
            schema: 1,
        }
    };
    let records = vec![
        rewritten("ann", doc([("gold", 5), ("level", 7)])),
        rewritten("bob", doc([("gold", 6), ("level", 7)])),
    ];
    anybody.set("bob", "gold", 1).await.unwrap();
    let committed = world.commit(SchemaCommit {
        namespace: NAMESPACE.into(),
        records,
        actor: "an operator".into(),
        ..SchemaCommit::default()
    });
    assert_eq!(committed.unwrap().rewritten, 1);
    assert_eq!(world.stored("ann"), (1, doc([("gold", 5), ("level", 7)])));
    assert_eq!(world.stored("bob"), (1, doc([("gold", 1), ("level", 7)])));

    let history = HistoryOp {
        key: Some(key("ann")),
        ..HistoryOp::default()
    };
    let Ok(Answer::History(told)) = anybody.call(op::Kind::History(history)).await else {
        panic!("not the answer to a history");
    };
    let told = told.changes.into_iter().map(|change| {
        let (origin, actor) = (change.origin(), change.actor.clone());
        (origin, actor, seen(Ok(change.record)))
    });
    let expected = [
        (
            CommitOrigin::Migration,
            "an operator".to_owned(),
            (1, doc([("gold", 5), ("level", 7)])),
        ),
        // As it was written.
        (CommitOrigin::Client, String::new(), (0, doc([("gold", 5)]))),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

/// Old sessions and others write all the time while the version is changed, so that the commit falls among writes of its own
/// batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_of_an_older_version_is_stored_behind_the_commit_that_sets_the_version() {
    let world = World::new().await;
    world.publish(scripts());
    let session = world.session("old", Some(0)).await.unwrap();
    let is_over = AtomicBool::new(false);
    let writer = |name: &'static str, old: bool| {
        let (world, session, is_over) = (&world, &session, &is_over);
        async move {
            let mut caller = match old {
                true => world.holder(session).await,
                false => world.anybody().await,
            };
            let mut n = 0;
            while !is_over.load(Ordering::Relaxed) {
                n += 1;
                let name = format!("{name}-{n}");
                caller.put(&name, &doc([("gold", n)])).await.unwrap();
            }
            n
        }
    };
    let applying = async {
        let store = world.store.clone();
        while world.revision() < 100 {
            tokio::task::yield_now().await;
        }
        let at = store.commit_schema_async(setting(NAMESPACE, 1, 0)).await;
        let at = at.unwrap().committed.revision;
        while world.revision() < at + 100 {
            tokio::task::yield_now().await;
        }
        is_over.store(true, Ordering::Relaxed);
        at
    };
    let (at, a, b, c) = tokio::join!(
        applying,
        writer("a", true),
        writer("b", true),
        writer("c", false)
    );
    let mut behind = 0;
    for (name, count) in [("a", a), ("b", b), ("c", c)] {
        for n in 1..=count {
            let name = format!("{name}-{n}");
            let view_key = keys::record(NAMESPACE, COLLECTION, name.as_bytes());
            let record = world.store.reader().record(&view_key).unwrap().unwrap();
            assert_eq!(record.schema, u32::from(record.mod_rev > at), "{name}");
            behind += u32::from(record.mod_rev > at);
        }
    }
    assert!(behind >= 50, "{behind}");
}

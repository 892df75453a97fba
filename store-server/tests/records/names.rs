//! Which records are brought back, and under which names.

use bytes::Bytes;
use stillpoint_proto::v1::{Reason, RestoreRecordsRequest};

use crate::operator::{World, all, delete, label, one, put, texts, txn};

/// Texts of keys and values.
fn are(records: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(key, text): &(&str, &str)| ((*key).into(), (*text).into());
    records.iter().map(own).collect()
}

/// A store with three records as of `then`, and others since.
async fn changed() -> World {
    let mut world = World::new().await;
    let then = vec![
        put("guild/1", "1"),
        put("guild/2", "2"),
        put("player/1", "3"),
    ];
    world.does(txn(then)).await;
    world.back_up(false).await;
    world.mark("then").await;
    world.back_up(true).await;
    world.does(put("guild/1", "10")).await;
    world.does(delete("guild/2")).await;
    world.does(put("guild/3", "30")).await;
    world.does(put("player/1", "31")).await;
    world
}

/// The same from the log and from backups.
fn both(world: &World, request: RestoreRecordsRequest) -> [RestoreRecordsRequest; 2] {
    let from_backups = RestoreRecordsRequest {
        target: world.target(),
        ..request.clone()
    };
    [request, from_backups]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_a_key_and_a_collection_are_as_they_were_and_nothing_else_is() {
    let prefix = RestoreRecordsRequest {
        prefix: Bytes::from_static(b"guild/"),
        ..all(label("then"))
    };
    let guilds = [("guild/1", "1"), ("guild/2", "2"), ("player/1", "31")];
    let whole = [("guild/1", "1"), ("guild/2", "2"), ("player/1", "3")];
    let key = [
        ("guild/1", "10"),
        ("guild/2", "2"),
        ("guild/3", "30"),
        ("player/1", "31"),
    ];
    let unmade = [("guild/1", "10"), ("player/1", "31")];
    for (request, becomes, changed_count) in [
        (prefix, &guilds[..], 3),
        (all(label("then")), &whole, 4),
        (one("guild/2", label("then")), &key, 1),
        (one("guild/3", label("then")), &unmade, 1),
        (
            one("guild/9", label("then")),
            &[("guild/1", "10"), ("guild/3", "30"), ("player/1", "31")],
            0,
        ),
    ] {
        for nth in 0..2 {
            let mut world = changed().await;
            let request = both(&world, request.clone())[nth].clone();
            let restored = world.restore(request).await.unwrap();
            assert_eq!(restored.end.changed, changed_count);
            assert_eq!(restored.end.commits, u64::from(changed_count > 0));
            assert_eq!(texts(&world.records("doc").await), are(becomes), "{nth}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_another_name_they_are_copied_and_nothing_is_removed() {
    for nth in 0..2 {
        let mut world = changed().await;
        let request = RestoreRecordsRequest {
            prefix: Bytes::from_static(b"guild/"),
            as_collection: "old".into(),
            as_prefix: Bytes::from_static(b"was/"),
            ..all(label("then"))
        };
        let live = texts(&world.records("doc").await);
        let request = both(&world, request)[nth].clone();
        let restored = world.restore(request.clone()).await.unwrap();
        assert_eq!(restored.end.changed, 2);
        let copies = [("was/1", "1"), ("was/2", "2")];
        assert_eq!(texts(&world.records("old").await), are(&copies));
        assert_eq!(texts(&world.records("doc").await), live);
        // The same again: there is nothing left to do.
        let again = world.restore(request).await.unwrap();
        assert_eq!(
            (again.end.changed, again.end.compared),
            (0, if nth == 0 { 3 } else { 2 })
        );

        let request = RestoreRecordsRequest {
            as_prefix: Bytes::from_static(b"guild/1-as-it-was"),
            ..one("guild/1", label("then"))
        };
        let request = both(&world, request)[nth].clone();
        let restored = world.restore(request).await.unwrap();
        assert_eq!(restored.end.changed, 1);
        let doc = texts(&world.records("doc").await);
        assert!(doc.contains(&("guild/1".into(), "10".into())), "{doc:?}");
        assert!(
            doc.contains(&("guild/1-as-it-was".into(), "1".into())),
            "{doc:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_fit_into_one_commit_are_written_in_several_and_it_is_told() {
    let mut world = World::with(|config| config.limits.batch_ops = 10).await;
    for n in 0..35 {
        world.does(put(&format!("{n:02}"), "1")).await;
    }
    world.mark("then").await;
    for n in 0..35 {
        world.does(delete(&format!("{n:02}"))).await;
    }
    let restored = world.restore(all(label("then"))).await.unwrap();
    assert_eq!((restored.end.changed, restored.end.commits), (35, 4));
    assert_eq!(world.records("doc").await.len(), 35);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_no_record_can_have_are_refused() {
    let mut world = changed().await;
    let long = RestoreRecordsRequest {
        as_prefix: Bytes::from(vec![b'x'; 512]),
        prefix: Bytes::from_static(b"guild/"),
        ..all(label("then"))
    };
    let own = RestoreRecordsRequest {
        as_collection: "@claim".into(),
        ..all(label("then"))
    };
    let two = RestoreRecordsRequest {
        keys: vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")],
        as_prefix: Bytes::from_static(b"c"),
        ..all(label("then"))
    };
    for request in [long, own, two] {
        let error = world.restore(request).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Invalid, "{error}");
    }
}

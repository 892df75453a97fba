//! Writes that have a name are done once, whoever repeats them, as the store runs on and after each kind of start.

use prost::Message;
use stillpoint_proto::v1::{OnceKey, Op, OpResult, PutOp, Reason, SetTimerOp, op, op_result::Kind};

use crate::{
    common::{Content, NAMESPACE, add, delete, get, key, op, put, txn, value},
    world::{Life, World, by, in_all_lives, named, open, refusal, send, submit_to, succeed},
};

/// Every kind of write that can have a name.
fn writes() -> Vec<Op> {
    let expiring = PutOp {
        key: key("c", "expiring"),
        value: value("1"),
        ttl_ms: 3_600_000,
        ..PutOp::default()
    };
    let timer = SetTimerOp {
        name: "soon".into(),
        delay_ms: 1000,
        ..SetTimerOp::default()
    };
    vec![
        put("a", r#""text""#),
        op(op::Kind::Put(expiring)),
        add("doc", 5),
        txn(vec![
            get("doc"),
            add("doc", 100),
            delete("a"),
            put("b", "1"),
        ]),
        delete("b"),
        op(op::Kind::SetTimer(timer)),
        // What changes nothing has an answer, too.
        delete("missing"),
        txn(vec![get("doc"), delete("missing")]),
    ]
}

fn name(n: usize) -> String {
    format!("trade-{n}")
}

fn bytes(kind: Kind) -> Vec<u8> {
    OpResult { kind: Some(kind) }.encode_to_vec()
}

#[test]
fn a_repeat_by_another_process_gets_the_first_answer_and_changes_nothing() {
    in_all_lives(
        |store| {
            let session = open(store, "1");
            let since = Content::of(store).revision;
            let first = writes().into_iter().enumerate().map(|(n, op)| {
                let done = send(store, Some(&session), named(&name(n), since, op));
                bytes(done.unwrap())
            });
            let first: Vec<_> = first.collect();
            by(store, None, put("missing", r#""here now""#)).unwrap();
            (session, since, first)
        },
        |store, (session, since, first)| {
            let successor = succeed(store, session);
            let before = Content::of(store);
            for (n, op) in writes().into_iter().enumerate().rev() {
                // A session is not needed, nor the same one.
                let caller = (n % 2 == 0).then_some(&successor);
                let again = send(store, caller, named(&name(n), *since, op)).unwrap();
                assert_eq!(bytes(again), first[n], "write {n}");
            }
            assert_eq!(Content::of(store), before, "nothing was applied again");
        },
    );
}

#[test]
fn a_write_that_was_refused_can_be_repeated_under_its_name() {
    let world = World::new(|_| {});
    let store = &world.store;
    let patch = || match add("doc", 1).kind {
        Some(op::Kind::Patch(mut patch)) => {
            patch.create = false;
            named("trade", 0, op(op::Kind::Patch(patch)))
        }
        _ => unreachable!("an addition is a patch"),
    };
    assert_eq!(refusal(send(store, None, patch())), Reason::VersionConflict);
    by(store, None, put("doc", r#"{"n": 1}"#)).unwrap();
    let done = send(store, None, patch()).unwrap();
    assert_eq!(send(store, None, patch()), Ok(done));
    store.close();
}

#[test]
fn who_is_fenced_does_not_get_the_answer() {
    let world = World::new(|_| {});
    let store = &world.store;
    let session = open(store, "1");
    send(store, Some(&session), named("trade", 0, put("a", "1"))).unwrap();
    succeed(store, &session);
    let again = send(store, Some(&session), named("trade", 0, put("a", "1")));
    assert_eq!(refusal(again), Reason::Fenced);
    store.close();
}

#[test]
fn a_name_counts_for_its_namespace() {
    let world = World::new(|_| {});
    let store = &world.store;
    for namespace in ["one", "other"] {
        for _ in 0..2 {
            let named = named("trade", 0, put("a", "1"));
            let done = submit_to(store, namespace, None, named).recv().unwrap();
            match done {
                Ok(Kind::Put(put)) => assert_eq!(put.mod_rev, 1, "{namespace}"),
                other => panic!("not the answer to a put: {other:?}"),
            }
        }
    }
    store.close();
}

#[test]
fn a_name_that_may_be_forgotten_is_refused_and_one_that_cannot_have_been_done_is_new() {
    let mut world = World::new(|config| config.log.dedup_window_secs = 0);
    for n in 0..3 {
        send(&world.store, None, named(&name(n), n as u64, put("a", "1"))).unwrap();
    }
    world.live(Life::Restart);
    let store = &world.store;
    // Any name, since what was forgotten has none any more.
    for forgotten in [name(0), "never seen".into()] {
        let error = send(store, None, named(&forgotten, 2, put("a", "1"))).unwrap_err();
        assert_eq!(error.reason(), Reason::Compacted, "{error}");
        assert!(error.message.contains("since revision 3"), "{error}");
    }
    send(store, None, named("new", 3, put("a", "2"))).unwrap();
    assert_eq!(Content::of(store).revision, 4);
    store.close();
}

#[test]
fn a_revision_that_is_yet_to_come_is_refused() {
    in_all_lives(
        |store| {
            by(store, None, put("a", "1")).unwrap();
        },
        |store, ()| {
            let future = named("trade", 2, put("a", "2"));
            assert_eq!(refusal(send(store, None, future)), Reason::Invalid);
            send(store, None, named("trade", 1, put("a", "2"))).unwrap();
        },
    );
}

#[test]
fn the_bounds_of_a_name_are_told() {
    let world = World::new(|_| {});
    let check = |len: usize| {
        world.store.check_once(&OnceKey {
            name: vec![b'n'; len].into(),
            since_revision: 0,
        })
    };
    assert_eq!(check(1), Ok(()));
    assert_eq!(check(128), Ok(()));
    for len in [0, 129] {
        let error = check(len).unwrap_err();
        assert_eq!(error.reason(), Reason::Invalid);
        assert!(error.message.contains("use 1 to 128"), "{error}");
    }
    assert!(
        world
            .store
            .status()
            .namespaces
            .iter()
            .all(|n| n.namespace != NAMESPACE)
    );
    world.store.close();
}

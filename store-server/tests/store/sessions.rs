//! Sessions: succession, fences and ends, as the store runs on and after each kind of start.

use std::thread;

use stillpoint_proto::v1::{GetOp, ListCollectionsOp, Reason, ScanOp, op, op_result::Kind};
use stillpoint_store_server::store::{index::Notice, session::SessionChange};

use crate::{
    common::{Content, NAMESPACE, key, op, put},
    world::{
        Life, World, by, change, claim, end, in_all_lives, open, opening, owner, refusal, submit,
        succeed, try_open, write,
    },
};

#[test]
fn a_successor_has_the_same_id_a_greater_fence_and_another_token() {
    in_all_lives(
        |store| {
            let first = open(store, "1");
            by(store, &first, put("a", "1")).unwrap();
            (first.clone(), succeed(store, &first))
        },
        |store, (first, second)| {
            assert_eq!(second.id, first.id);
            assert!(second.fence > first.fence, "{second:?}");
            assert_ne!(second.resume_token, first.resume_token);
            assert_eq!((first.holders, second.holders), (1, 2));
            assert_eq!(second.opened_ms, first.opened_ms);
            let index = store.index();
            assert_eq!(index.session_count(), 1);
            let kept = index.session_of(NAMESPACE, "battle/1");
            assert_eq!(kept.map(|session| &**session), Some(second));
        },
    );
}

#[test]
fn the_older_holder_can_write_no_more_and_is_told_who_holds_the_session() {
    in_all_lives(
        |store| {
            let first = open(store, "1");
            claim(store, &first, "a").unwrap();
            (first.clone(), succeed(store, &first))
        },
        |store, (first, second)| {
            // Whether it owns the record or not.
            for name in ["a", "b"] {
                let error = by(store, first, put(name, "1")).unwrap_err();
                assert_eq!(error.reason(), Reason::Fenced, "{error}");
                assert_eq!(error.holder, "battle/1 (the tests)");
                by(store, second, put(name, "2")).unwrap();
            }
            let error = end(store, first).unwrap_err();
            assert_eq!(error.reason(), Reason::Fenced, "{error}");
        },
    );
}

#[test]
fn a_write_that_is_queued_behind_its_successor_is_fenced() {
    let world = World::new(|_| {});
    let store = &world.store;
    let mut holder = open(store, "1");
    for _ in 0..100 {
        let (sender, opened) = crossbeam_channel::bounded(1);
        let before = submit(store, Some(&holder), write(put("a", "1")));
        store.change_session(
            NAMESPACE,
            SessionChange::Open(opening("1", holder.fence)),
            move |result| sender.send(result).unwrap(),
        );
        let behind = submit(store, Some(&holder), write(put("a", "2")));
        let successor = opened.recv().unwrap().unwrap().unwrap();
        before.recv().unwrap().unwrap();
        assert_eq!(refusal(behind.recv().unwrap()), Reason::Fenced);
        assert!(successor.fence > holder.fence);
        holder = successor;
    }
    store.close();
}

#[test]
fn who_opens_with_an_outdated_idea_of_the_holder_is_refused() {
    in_all_lives(
        |store| {
            let first = open(store, "1");
            (first.clone(), succeed(store, &first))
        },
        |store, (first, second)| {
            for outdated in [0, first.fence, second.fence + 1] {
                let error = try_open(store, "1", outdated).unwrap_err();
                assert_eq!(error.reason(), Reason::VersionConflict, "{error}");
            }
            let error = try_open(store, "never-opened", 1).unwrap_err();
            assert_eq!(error.reason(), Reason::VersionConflict, "{error}");
        },
    );
}

#[test]
fn of_many_that_open_at_once_one_is_the_successor() {
    let world = World::new(|_| {});
    let mut holder = open(&world.store, "1");
    for _ in 0..20 {
        let fence = holder.fence;
        let opened: Vec<_> = thread::scope(|scope| {
            let open = || try_open(&world.store, "1", fence);
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            let opened = threads.into_iter().map(|thread| thread.join().unwrap());
            opened.filter_map(Result::ok).collect()
        });
        let [successor] = &opened[..] else {
            panic!("{opened:?}");
        };
        holder = successor.clone();
    }
    world.store.close();
}

#[test]
fn the_end_of_a_session_frees_its_claims_and_its_writes_are_refused() {
    in_all_lives(
        |store| {
            let (ended, other) = (open(store, "1"), open(store, "2"));
            for name in ["a", "b"] {
                claim(store, &ended, name).unwrap();
            }
            claim(store, &other, "kept").unwrap();
            end(store, &ended).unwrap();
            (ended, other)
        },
        |store, (ended, other)| {
            assert_eq!(
                refusal(by(store, ended, put("a", "1"))),
                Reason::SessionExpired
            );
            assert_eq!(
                end(store, ended).unwrap_err().reason(),
                Reason::SessionExpired
            );
            assert_eq!(owner(store, "a"), None);
            by(store, None, put("a", "1")).unwrap();
            claim(store, other, "b").unwrap();
            assert_eq!(store.index().claim_count(), 2, "`kept` and `b`");
            // Whoever opens the identity again is nobody's successor.
            let anew = open(store, "1");
            assert_ne!(anew.id, ended.id);
            assert_eq!(anew.holders, 1);
            assert!(anew.fence > ended.fence);
            assert_eq!(
                refusal(by(store, ended, put("a", "1"))),
                Reason::SessionExpired
            );
        },
    );
}

#[test]
fn a_session_that_was_left_keeps_its_claims_for_the_successor() {
    in_all_lives(
        |store| {
            let left = open(store, "1");
            claim(store, &left, "a").unwrap();
            let release = SessionChange::Release {
                id: left.id.clone(),
                fence: left.fence,
                linger_ms: 30_000,
            };
            change(store, release).unwrap().unwrap()
        },
        |store, left| {
            assert_eq!(left.linger_ms, Some(30_000));
            assert_eq!(refusal(by(store, None, put("a", "1"))), Reason::NotOwner);
            let successor = succeed(store, left);
            assert_eq!(successor.linger_ms, None);
            assert_eq!(store.index().claim_count_of(&successor.id), 1);
            by(store, &successor, put("a", "1")).unwrap();
        },
    );
}

#[test]
fn a_session_that_never_was_is_refused_like_one_that_is_over() {
    let world = World::new(|_| {});
    let store = &world.store;
    let mut unknown = open(store, "1");
    for id in ["battle/1/0000000000000000", "battle/1", "x", "//"] {
        unknown.id = id.into();
        let refused = by(store, &unknown, put("a", "1"));
        assert_eq!(refusal(refused), Reason::SessionExpired, "{id}");
    }
    store.close();
}

#[test]
fn more_sessions_than_the_limit_are_refused_but_not_successors() {
    let mut world = World::new(|config| config.limits.sessions = 2);
    let first = open(&world.store, "1");
    open(&world.store, "2");
    world.live(Life::Restart);
    let store = &world.store;
    let error = try_open(store, "3", 0).unwrap_err();
    assert_eq!(error.reason(), Reason::Quota);
    assert!(error.message.contains("limits.sessions"), "{error}");
    let first = succeed(store, &first);
    end(store, &first).unwrap();
    open(store, "3");
    store.close();
}

#[test]
fn no_session_outlives_the_incarnation_that_opened_it() {
    let mut world = World::new(|_| {});
    let session = open(&world.store, "1");
    claim(&world.store, &session, "a").unwrap();
    world.close_then(|dir| {
        // As a repair or a restore leaves it.
        let path = dir.path().join("store.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let raised = text.replace("incarnation = 1", "incarnation = 2");
        assert_ne!(raised, text);
        std::fs::write(path, raised).unwrap();
    });
    let store = &world.store;
    assert_eq!(
        refusal(by(store, &session, put("a", "1"))),
        Reason::SessionExpired
    );
    by(store, None, put("a", "1")).unwrap();
    let status = store.status();
    assert_eq!((status.sessions, status.claims), (0, 0));
    assert_ne!(open(store, "1").id, session.id);
    store.close();
}

#[test]
fn what_the_store_keeps_of_sessions_is_no_record_of_a_client() {
    in_all_lives(
        |store| {
            let session = open(store, "1");
            claim(store, &session, "claimed and missing").unwrap();
            by(store, &session, put("a", "1")).unwrap();
        },
        |store, ()| {
            // It compares the count of records with those that a scan finds.
            assert_eq!(Content::of(store).records.len(), 1);
            let list = op(op::Kind::ListCollections(ListCollectionsOp::default()));
            match store.execute(NAMESPACE, list) {
                Ok(Kind::ListCollections(list)) => assert_eq!(list.collections, ["c"]),
                other => panic!("not the answer to a list: {other:?}"),
            }
            for collection in ["@session", "@claim", "@timer", "@cursor"] {
                let scan = op::Kind::Scan(ScanOp {
                    collection: collection.into(),
                    ..ScanOp::default()
                });
                let get = op::Kind::Get(GetOp {
                    key: key(collection, "battle/1"),
                    with_claim: false,
                    raw: false,
                });
                for kind in [scan, get] {
                    let refused = store.execute(NAMESPACE, op(kind));
                    assert_eq!(refusal(refused), Reason::Invalid, "{collection}");
                }
            }
        },
    );
}

#[test]
fn changes_are_told_in_order_when_they_can_be_read() {
    let world = World::new(|_| {});
    let store = &world.store;
    let mut notices = store.take_notices().unwrap();
    assert!(store.take_notices().is_none(), "one listener");
    let first = open(store, "1");
    claim(store, &first, "a").unwrap();
    let second = succeed(store, &first);
    end(store, &second).unwrap();
    let mut next = || notices.try_recv().unwrap();
    let fences = |notice| match notice {
        Notice::Session { before, after, .. } => (before.map(|s| s.fence), after.map(|s| s.fence)),
        other => panic!("not of a session: {other:?}"),
    };
    assert_eq!(fences(next()), (None, Some(first.fence)));
    match next() {
        Notice::Claim { before, after, .. } => {
            assert_eq!((before, after), (None, Some(first.id.clone())));
        }
        other => panic!("not of a claim: {other:?}"),
    }
    assert_eq!(fences(next()), (Some(first.fence), Some(second.fence)));
    // Ended as one commit, in the order of its keys.
    match next() {
        Notice::Claim { before, after, .. } => assert_eq!((before, after), (Some(first.id), None)),
        other => panic!("not of a claim: {other:?}"),
    }
    assert_eq!(fences(next()), (Some(second.fence), None));
    store.close();
}

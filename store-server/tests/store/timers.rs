//! Durable timers: set, moved on, consumed once, as the store runs on and after each kind of start.

use stillpoint_proto::v1::{
    CancelTimerOp, FinishTimerOp, MissedFirings, Op, Reason, SetTimerOp, StoreError, op,
    op_result::Kind,
};
use stillpoint_store_server::store::{
    Store, keys,
    session::Session,
    timer::{Missed, Owner, Timer, split_timer_name},
};

use crate::{
    common::{Content, NAMESPACE, add, key, op, put, txn, value},
    world::{Life, World, by, claim, in_all_lives, open, refusal, succeed},
};

/// Long ago, so that every timer of the tests is due.
const DUE_MS: u64 = 1_000_000;

fn timer(name: &str, due_ms: u64) -> SetTimerOp {
    SetTimerOp {
        name: name.to_owned().into(),
        due_ms,
        ..SetTimerOp::default()
    }
}

fn set(timer: SetTimerOp) -> Op {
    op(op::Kind::SetTimer(timer))
}

fn cancel(name: &str) -> Op {
    op(op::Kind::CancelTimer(CancelTimerOp {
        service: String::new(),
        name: name.to_owned().into(),
    }))
}

fn finish(name: &str, due_ms: u64) -> Op {
    op(op::Kind::FinishTimer(FinishTimerOp {
        service: String::new(),
        name: name.to_owned().into(),
        due_ms,
    }))
}

fn next_due(result: Result<Kind, StoreError>) -> u64 {
    match result {
        Ok(Kind::FinishTimer(finished)) => finished.next_due_ms,
        other => panic!("not the answer to a finished timer: {other:?}"),
    }
}

/// Names of the timers that are due, and when, in the order of the index.
fn due(store: &Store, now_ms: u64) -> Vec<(String, u64)> {
    let index = store.index();
    let due = index.timers_due_after(0, now_ms).map(|(view_key, due)| {
        let (_, _, name) = keys::split_system(view_key).unwrap();
        let (service, name) = split_timer_name(name).unwrap();
        (format!("{service}:{}", name.escape_ascii()), due.due_ms)
    });
    due.collect()
}

#[test]
fn timers_are_due_in_the_order_of_time() {
    in_all_lives(
        |store| {
            let session = open(store, "1");
            for (name, due_ms) in [
                ("b", 30),
                ("a", 10),
                ("late", 50),
                ("moved", 5),
                ("gone", 1),
            ] {
                by(store, &session, set(timer(name, due_ms))).unwrap();
            }
            by(store, &session, set(timer("moved", 20))).unwrap();
            by(store, &session, cancel("gone")).unwrap();
            let other_service = SetTimerOp {
                service: "guild".into(),
                ..timer("a", 40)
            };
            by(store, None, set(other_service)).unwrap();
        },
        |store, ()| {
            let expected = [
                ("battle:a", 10),
                ("battle:moved", 20),
                ("battle:b", 30),
                ("guild:a", 40),
            ];
            let expected = expected.map(|(name, due_ms)| (name.to_owned(), due_ms));
            assert_eq!(due(store, 40), expected);
            assert_eq!(due(store, 39), expected[..3]);
            let index = store.index();
            assert_eq!(index.timer_count(), 5);
            assert_eq!(index.next_timer_ms(0), Some(10));
            assert_eq!(index.next_timer_ms(40), Some(50));
            assert_eq!(index.next_timer_ms(50), None);
        },
    );
}

#[test]
fn a_timer_is_kept_as_it_was_set() {
    let set_timer = |store: &Store| {
        let session = open(store, "1");
        let timer = SetTimerOp {
            period_ms: 60_000,
            payload: value(r#"{"boss": 3}"#),
            owner: key("zone", "7"),
            missed: MissedFirings::Skip.into(),
            ..timer("respawn/boss", DUE_MS)
        };
        by(store, &session, set(timer)).unwrap();
    };
    in_all_lives(set_timer, |store, ()| {
        let index = store.index();
        let (view_key, due) = index.timers_due_after(0, DUE_MS).next().unwrap();
        assert_eq!(due.owner, Some(keys::record(NAMESPACE, "zone", b"7")));
        let view_key = view_key.clone();
        // Who holds the index takes no reader.
        drop(index);
        let record = store.reader().record(&view_key).unwrap().unwrap();
        let expected = Timer {
            due_ms: DUE_MS,
            period_ms: 60_000,
            missed: Missed::Skip,
            owner: Some(Owner {
                collection: "zone".into(),
                key: b"7".into(),
            }),
            payload: value(r#"{"boss": 3}"#).to_vec(),
        };
        assert_eq!(Timer::decode(&record), Ok(expected));
    });
}

#[test]
fn a_firing_that_is_consumed_with_its_effect_has_it_once() {
    in_all_lives(
        |store| {
            let session = open(store, "1");
            by(store, &session, set(timer("pay", DUE_MS))).unwrap();
            let pay = || txn(vec![finish("pay", DUE_MS), add("gold", 5)]);
            by(store, &session, pay()).unwrap();
            (session, pay())
        },
        |store, (session, pay)| {
            let before = Content::of(store);
            assert_eq!(
                refusal(by(store, session, pay.clone())),
                Reason::VersionConflict
            );
            let successor = succeed(store, session);
            assert_eq!(
                refusal(by(store, &successor, pay.clone())),
                Reason::VersionConflict
            );
            assert_eq!(Content::of(store).records, before.records);
            assert_eq!(due(store, u64::MAX), []);
        },
    );
}

#[test]
fn a_transaction_that_fails_leaves_timers_as_they_were() {
    let world = World::new(|_| {});
    let store = &world.store;
    let session = open(store, "1");
    by(store, &session, set(timer("kept", DUE_MS))).unwrap();
    let failing = finish("never set", 1);
    let ops = vec![set(timer("new", 1)), cancel("kept"), failing];
    assert_eq!(
        refusal(by(store, &session, txn(ops))),
        Reason::VersionConflict
    );
    assert_eq!(due(store, u64::MAX), [("battle:kept".to_owned(), DUE_MS)]);
    // And one that does not sees its own.
    let ops = vec![set(timer("new", 7)), finish("new", 7), put("a", "1")];
    by(store, &session, txn(ops)).unwrap();
    assert_eq!(due(store, u64::MAX), [("battle:kept".to_owned(), DUE_MS)]);
    store.close();
}

#[test]
fn a_periodic_timer_goes_on_with_the_next_firing() {
    in_all_lives(
        |store| {
            let session = open(store, "1");
            let timer = SetTimerOp {
                period_ms: 1000,
                missed: MissedFirings::All.into(),
                ..timer("tick", DUE_MS)
            };
            by(store, &session, set(timer)).unwrap();
            let next = next_due(by(store, &session, finish("tick", DUE_MS)));
            assert_eq!(next, DUE_MS + 1000);
            session
        },
        |store, session| {
            let refused = by(store, session, finish("tick", DUE_MS));
            assert_eq!(refusal(refused), Reason::VersionConflict, "it was consumed");
            assert_eq!(
                due(store, u64::MAX),
                [("battle:tick".to_owned(), DUE_MS + 1000)]
            );
            let next = next_due(by(store, session, finish("tick", DUE_MS + 1000)));
            assert_eq!(next, DUE_MS + 2000);
        },
    );
}

#[test]
fn a_firing_of_a_timer_that_was_set_anew_or_cancelled_is_over() {
    let world = World::new(|_| {});
    let store = &world.store;
    let session = open(store, "1");
    for name in ["again", "cancelled"] {
        by(store, &session, set(timer(name, DUE_MS))).unwrap();
    }
    by(store, &session, set(timer("again", DUE_MS + 1))).unwrap();
    let existed = |result| match result {
        Ok(Kind::CancelTimer(cancelled)) => cancelled.existed,
        other => panic!("not the answer to a cancelled timer: {other:?}"),
    };
    assert!(existed(by(store, &session, cancel("cancelled"))));
    assert!(!existed(by(store, &session, cancel("cancelled"))));
    for name in ["again", "cancelled"] {
        let refused = by(store, &session, finish(name, DUE_MS));
        assert_eq!(refusal(refused), Reason::VersionConflict, "{name}");
    }
    assert_eq!(
        next_due(by(store, &session, finish("again", DUE_MS + 1))),
        0
    );
    store.close();
}

#[test]
fn a_firing_at_an_owner_is_consumed_by_it_alone() {
    in_all_lives(
        |store| {
            let (owner, other) = (open(store, "1"), open(store, "2"));
            claim(store, &owner, "boss").unwrap();
            let timer = SetTimerOp {
                owner: key("c", "boss"),
                ..timer("respawn", DUE_MS)
            };
            by(store, &other, set(timer)).unwrap();
            (owner, other)
        },
        |store, (owner, other)| {
            let refused = by(store, other, finish("respawn", DUE_MS));
            assert_eq!(refusal(refused), Reason::NotOwner);
            assert_eq!(next_due(by(store, owner, finish("respawn", DUE_MS))), 0);
        },
    );
}

#[test]
fn a_delay_counts_from_the_servers_time() {
    let world = World::new(|_| {});
    let store = &world.store;
    let session: Session = open(store, "1");
    let delayed = SetTimerOp {
        delay_ms: 5000,
        ..timer("soon", 0)
    };
    match by(store, &session, set(delayed)) {
        // A session is opened at the server's time.
        Ok(Kind::SetTimer(set)) => assert!(set.due_ms >= session.opened_ms + 5000),
        other => panic!("not the answer to a set timer: {other:?}"),
    }
    store.close();
}

#[test]
fn a_timer_that_is_malformed_or_of_no_service_is_refused() {
    let world = World::new(|_| {});
    let store = &world.store;
    let session = open(store, "1");
    let malformed = [
        timer("", 1),
        timer(&"n".repeat(513), 1),
        SetTimerOp {
            service: "Battle".into(),
            ..timer("a", 1)
        },
        SetTimerOp {
            payload: b"\xc1"[..].into(),
            ..timer("a", 1)
        },
        SetTimerOp {
            missed: 99,
            ..timer("a", 1)
        },
        SetTimerOp {
            owner: key("@timer", "a"),
            ..timer("a", 1)
        },
        timer("a", u64::MAX),
        SetTimerOp {
            period_ms: u64::MAX,
            ..timer("a", 1)
        },
    ];
    for timer in malformed {
        let refused = by(store, &session, set(timer.clone()));
        assert_eq!(refusal(refused), Reason::Invalid, "{timer:?}");
    }
    for op in [set(timer("a", 1)), cancel("a"), finish("a", 1)] {
        assert_eq!(refusal(by(store, None, op)), Reason::Invalid, "no service");
    }
    assert_eq!(store.index().timer_count(), 0);
    store.close();
}

#[test]
fn there_are_at_most_as_many_timers_as_the_limit() {
    let mut world = World::new(|config| config.limits.timers = 3);
    let session = open(&world.store, "1");
    for name in ["a", "b"] {
        by(&world.store, &session, set(timer(name, DUE_MS))).unwrap();
    }
    world.live(Life::Restart);
    let store = &world.store;
    let by = |op| by(store, &session, op);
    let refused = |op| {
        let error = by(op).unwrap_err();
        assert_eq!(error.reason(), Reason::Quota);
        assert!(error.message.contains("limits.timers"), "{error}");
    };
    // Within a transaction what it has set before counts, and what it has removed does not.
    refused(txn(vec![set(timer("c", 1)), set(timer("d", 1))]));
    by(txn(vec![
        cancel("a"),
        set(timer("c", 1)),
        set(timer("d", 1)),
    ]))
    .unwrap();
    assert_eq!(store.index().timer_count(), 3);
    refused(set(timer("e", 1)));
    // Those that are there go on.
    by(set(timer("c", 2))).unwrap();
    let tick = SetTimerOp {
        period_ms: 1000,
        ..timer("d", DUE_MS)
    };
    by(set(tick)).unwrap();
    assert!(next_due(by(finish("d", DUE_MS))) > DUE_MS);
    by(finish("c", 2)).unwrap();
    by(set(timer("e", 1))).unwrap();
    assert_eq!(store.index().timer_count(), 3);
    store.close();
}

//! Claims: who may write, and how the right to write passes on, as the store runs on and after each kind of start.

use stillpoint_proto::v1::{
    ClaimOp, Durability, Guard, PatchOp, Predicate, Reason, TxnOp, op, op_result::Kind,
    predicate::Test,
};
use stillpoint_store_server::{
    config::{ClaimRule, CollectionConfig, DurabilityKind},
    store::request::WriteItem,
};

use crate::{
    common::{Content, add, delete, get, key, op, put, txn, value},
    world::{
        Life, World, by, claim, claim_op, claim_with, in_all_lives, named, numbered, open, owner,
        refusal, release, send, steal, succeed, write,
    },
};

#[test]
fn the_owner_writes_and_everybody_else_is_refused_with_the_owners_name() {
    in_all_lives(
        |store| {
            let (owner, other) = (open(store, "1"), open(store, "2"));
            by(store, &other, put("a", r#"{"n": 1}"#)).unwrap();
            claim(store, &owner, "a").unwrap();
            (owner, other)
        },
        |store, (owner, other)| {
            for stranger in [Some(other), None] {
                let writes = [
                    put("a", "1"),
                    add("a", 1),
                    delete("a"),
                    txn(vec![put("b", "1"), put("a", "1")]),
                ];
                for op in writes {
                    let error = by(store, stranger, op).unwrap_err();
                    assert_eq!(error.reason(), Reason::NotOwner, "{error}");
                    assert_eq!(error.holder, "battle/1");
                    assert_eq!(error.key, key("c", "a"));
                }
            }
            assert_eq!(Content::of(store).records.len(), 1, "`b` was not written");
            by(store, owner, add("a", 1)).unwrap();
            by(store, owner, txn(vec![put("b", "1"), delete("a")])).unwrap();
            // What it deleted is still its own.
            assert_eq!(refusal(by(store, other, put("a", "1"))), Reason::NotOwner);
        },
    );
}

#[test]
fn everybody_reads_and_guards_on_what_another_owns() {
    let world = World::new(|_| {});
    let store = &world.store;
    let owner = open(store, "1");
    claim(store, &owner, "a").unwrap();
    by(store, &owner, put("a", "1")).unwrap();
    by(store, None, get("a")).unwrap();
    let guarded = TxnOp {
        guards: vec![Guard {
            key: key("c", "a"),
            predicate: Some(Predicate {
                test: Some(Test::Exists(true)),
            }),
        }],
        then: vec![get("a"), put("b", "1")],
        otherwise: Vec::new(),
    };
    by(store, None, op(op::Kind::Txn(guarded))).unwrap();
    store.close();
}

#[test]
fn a_claim_of_another_is_refused_unless_it_steals() {
    in_all_lives(
        |store| {
            let (owner, other) = (open(store, "1"), open(store, "2"));
            claim(store, &owner, "a").unwrap();
            (owner, other)
        },
        |store, (first, other)| {
            let error = claim(store, other, "a").unwrap_err();
            assert_eq!(
                (error.reason(), &*error.holder),
                (Reason::NotOwner, "battle/1")
            );
            steal(store, other, "a");
            by(store, other, put("a", "1")).unwrap();
            assert_eq!(refusal(by(store, first, put("a", "1"))), Reason::NotOwner);
            assert!(!release(store, first, "a"), "it is not its own to release");
            assert_eq!(owner(store, "a").unwrap().session_id, *other.id);
        },
    );
}

#[test]
fn the_token_grows_with_each_owner_and_each_holder() {
    in_all_lives(
        |store| {
            let (one, other) = (open(store, "1"), open(store, "2"));
            let mut tokens = vec![claim(store, &one, "a").unwrap()];
            assert!(release(store, &one, "a"));
            tokens.push(claim(store, &one, "a").unwrap());
            let one = succeed(store, &one);
            tokens.push(owner(store, "a").unwrap().token);
            assert_eq!(claim(store, &one, "a"), Ok(tokens[2]), "it was its own");
            tokens.push(steal(store, &other, "a"));
            tokens.push(steal(store, &one, "a"));
            (one, tokens)
        },
        |store, (one, tokens)| {
            assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
            let claim = owner(store, "a").unwrap();
            assert_eq!(Some(&claim.token), tokens.last());
            assert_eq!((&*claim.service, &*claim.instance), ("battle", "1"));
            assert_eq!(claim.session_id, *one.id);
            succeed(store, one);
            assert!(owner(store, "a").unwrap().token > claim.token);
        },
    );
}

#[test]
fn succession_takes_all_claims_over_by_one_commit() {
    in_all_lives(
        |store| {
            let first = open(store, "1");
            for n in 0..100 {
                claim(store, &first, &n.to_string()).unwrap();
            }
            let before = Content::of(store).revision;
            let second = succeed(store, &first);
            assert_eq!(Content::of(store).revision, before + 1);
            second
        },
        |store, second| {
            assert_eq!(store.index().claim_count_of(&second.id), 100);
            by(store, second, put("99", "1")).unwrap();
        },
    );
}

#[test]
fn to_claim_what_one_owns_writes_nothing_and_gives_the_same_token() {
    in_all_lives(
        |store| {
            let session = open(store, "1");
            let token = claim(store, &session, "a").unwrap();
            (session, token)
        },
        |store, (session, token)| {
            let before = Content::of(store).revision;
            assert_eq!(claim(store, session, "a"), Ok(*token));
            assert_eq!(Content::of(store).revision, before);
        },
    );
}

#[test]
fn a_claim_loads_the_record_or_says_that_it_is_missing() {
    let world = World::new(|_| {});
    let store = &world.store;
    let session = open(store, "1");
    by(store, &session, put("a", r#""text""#)).unwrap();
    let loading = |name| ClaimOp {
        load: true,
        ..claim_op(name)
    };
    for _ in 0..2 {
        let claimed = claim_with(store, &session, loading("a")).unwrap();
        assert_eq!(claimed.record.unwrap().value, value(r#""text""#));
        let lock = claim_with(store, &session, loading("missing")).unwrap();
        assert_eq!(lock.record, None);
    }
    assert_eq!(
        claim_with(store, &session, claim_op("a")).unwrap().record,
        None
    );
    store.close();
}

#[test]
fn a_repeated_claim_is_granted_again_only_while_it_is_still_the_callers() {
    in_all_lives(
        |store| {
            let (one, other) = (open(store, "1"), open(store, "2"));
            by(store, None, put("kept", "1")).unwrap();
            for (sequence, name) in [(1, "kept"), (2, "released"), (3, "stolen")] {
                send(store, Some(&one), numbered(sequence, loading(name))).unwrap();
            }
            assert!(release(store, &one, "released"));
            steal(store, &other, "stolen");
            one
        },
        |store, one| {
            let before = Content::of(store).revision;
            let again = |sequence, name| send(store, Some(one), numbered(sequence, loading(name)));
            match again(1, "kept") {
                Ok(Kind::Claim(claimed)) => assert!(claimed.record.is_some()),
                other => panic!("not the answer to a claim: {other:?}"),
            }
            assert_eq!(refusal(again(2, "released")), Reason::NotOwner);
            assert_eq!(refusal(again(3, "stolen")), Reason::NotOwner);
            assert_eq!(owner(store, "released"), None);
            assert_eq!(Content::of(store).revision, before);
        },
    );
}

fn loading(name: &str) -> stillpoint_proto::v1::Op {
    op(op::Kind::Claim(ClaimOp {
        load: true,
        ..claim_op(name)
    }))
}

#[test]
fn a_claim_that_was_refused_is_granted_to_its_repeat_once_the_record_is_free() {
    let world = World::new(|_| {});
    let store = &world.store;
    let (one, other) = (open(store, "1"), open(store, "2"));
    claim(store, &one, "a").unwrap();
    // As the server does for a claim that waits.
    let again = || send(store, Some(&other), numbered(1, loading("a")));
    assert_eq!(refusal(again()), Reason::NotOwner);
    release(store, &one, "a");
    again().unwrap();
    store.close();
}

#[test]
fn a_claim_needs_a_session_and_cannot_be_part_of_a_transaction_or_have_a_name() {
    let world = World::new(|_| {});
    let store = &world.store;
    let session = open(store, "1");
    assert_eq!(refusal(by(store, None, loading("a"))), Reason::Invalid);
    let part = txn(vec![loading("a")]);
    assert_eq!(refusal(by(store, &session, part)), Reason::Invalid);
    let named = named("trade", 0, loading("a"));
    assert_eq!(refusal(send(store, Some(&session), named)), Reason::Invalid);
    assert_eq!(owner(store, "a"), None);
    store.close();
}

#[test]
fn a_session_owns_at_most_as_many_records_as_the_limit() {
    let mut world = World::new(|config| config.limits.claims = 2);
    let session = open(&world.store, "1");
    claim(&world.store, &session, "a").unwrap();
    claim(&world.store, &session, "b").unwrap();
    world.live(Life::Restart);
    let store = &world.store;
    let error = claim(store, &session, "d").unwrap_err();
    assert_eq!(error.reason(), Reason::Quota);
    assert!(error.message.contains("limits.claims"), "{error}");
    claim(store, &session, "a").unwrap();
    release(store, &session, "a");
    claim(store, &session, "d").unwrap();
    claim(store, &open(store, "2"), "a").unwrap();
    store.close();
}

fn rule(claims: ClaimRule, durability: DurabilityKind) -> Vec<CollectionConfig> {
    vec![CollectionConfig {
        namespace: "*".into(),
        collection: "*".into(),
        durability,
        claims,
    }]
}

#[test]
fn where_claims_are_required_only_an_owner_writes() {
    let world = World::new(|config| {
        config.collections = rule(ClaimRule::Required, DurabilityKind::Synced);
    });
    let store = &world.store;
    let session = open(store, "1");
    for caller in [Some(&session), None] {
        for op in [
            put("a", "1"),
            add("a", 1),
            delete("a"),
            txn(vec![put("a", "1")]),
        ] {
            let error = by(store, caller, op).unwrap_err();
            assert_eq!(error.reason(), Reason::NotOwner);
            assert!(error.message.contains("claim it first"), "{error}");
            assert_eq!(error.holder, "", "nobody owns it");
        }
    }
    by(store, None, get("a")).unwrap();
    claim(store, &session, "a").unwrap();
    by(store, &session, put("a", "1")).unwrap();
    release(store, &session, "a");
    assert_eq!(
        refusal(by(store, &session, put("a", "1"))),
        Reason::NotOwner
    );
    store.close();
}

#[test]
fn a_claim_is_durable_before_it_is_answered_whatever_the_collection_and_the_caller_say() {
    let world = World::new(|config| {
        config.collections = rule(ClaimRule::Optional, DurabilityKind::Applied);
        config.log.applied_sync_ms = 3_600_000;
        // Nothing else makes the writer sync.
        config.view.overlay_bytes = 64 << 20;
    });
    let store = &world.store;
    let session = open(store, "1");
    by(store, &session, put("b", "1")).unwrap();
    let log = store.status().log;
    assert_eq!(
        log.synced_seq + 1,
        log.last_seq,
        "the write is not durable yet"
    );
    let applied = WriteItem {
        durability: Durability::Applied,
        ..write(loading("a"))
    };
    send(store, Some(&session), applied).unwrap();
    let log = store.status().log;
    assert_eq!(log.synced_seq, log.last_seq);
    store.close();
}

#[test]
fn a_patch_of_what_another_owns_changes_nothing_even_if_it_would_create_it() {
    let world = World::new(|_| {});
    let store = &world.store;
    claim(store, &open(store, "1"), "lock").unwrap();
    let Some(op::Kind::Patch(patch)) = add("lock", 1).kind else {
        unreachable!("an addition is a patch")
    };
    for create in [false, true] {
        let patch = op(op::Kind::Patch(PatchOp {
            create,
            ..patch.clone()
        }));
        assert_eq!(refusal(by(store, None, patch)), Reason::NotOwner);
    }
    store.close();
}

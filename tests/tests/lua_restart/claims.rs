//! Claimed documents, while the store dies and stops under their owner.

use rustix::process::Signal;
use stillpoint_client::{
    CallOptions, Reply,
    v1::{
        DeleteOp, GetOp, MarkLabelRequest, Op, Reason, RecordKey, RestorePoint,
        RestoreRecordsRequest, op, op_result::Kind, restore_point::Point,
        restore_records_response::Kind as Restored,
    },
};
use stillpoint_tests::{
    lua_modules::LuaVersion,
    lua_process::Process,
    server::{Server, Setup},
};

use crate::Ending;

/// Starts an owner, which has got its documents when this returns. The second value: the gold in them.
pub fn start(
    version: LuaVersion,
    server: &Server,
    environment: &[(&str, &str)],
) -> Option<(Process, String)> {
    let mut owner = Process::start(version, "restart_claims.lua", server, environment)?;
    let gold = owner.says().expect("it gets its documents");
    Some((owner, gold))
}

pub const ONE: (&str, &str) = ("STILLPOINT_SPEC_INSTANCE", "one");
pub const OTHER: (&str, &str) = ("STILLPOINT_SPEC_INSTANCE", "other");
const TAKEOVER: (&str, &str) = ("STILLPOINT_SPEC_TAKEOVER", "1");

pub fn claimed_documents_go_on_with_what_was_changed_while_the_store_was_away(version: LuaVersion) {
    let setup = Setup::new();
    let mut server = setup.start();
    let Some((mut owner, gold)) = start(version, &server, &[ONE]) else {
        return;
    };
    assert_eq!(gold, "0\t0");
    let tokens = owner.ask("tokens");
    let before = session(&server);
    let mut gold = 0;
    for ending in [Ending::Kill, Ending::Stop, Ending::Kill] {
        gold += 3;
        assert_eq!(owner.ask("add 3"), format!("{gold}\t{gold}"));
        ending.end(server);
        gold += 4;
        let local = owner.ask("add 4");
        assert_eq!(local, format!("{gold}\t{gold}"), "{ending:?}: it goes on");
        server = setup.start();
        assert_eq!(owner.ask("save"), "saved\tsaved", "{ending:?}");
        assert_eq!(read(&server), [gold, gold], "{ending:?}");
        assert_eq!(owner.ask("tokens"), tokens, "{ending:?}");
        assert_eq!(session(&server), before, "{ending:?}: session and claims");
        assert_eq!(delete(&server), Reason::NotOwner, "{ending:?}");
    }

    // The claims are as good as before: who waits for them gets them from their owner, with all that is in them.
    assert_eq!(owner.ask("add 1"), format!("{0}\t{0}", gold + 1));
    owner.tell("lose");
    let (mut other, found) = start(version, &server, &[OTHER]).expect("the same Lua is here again");
    assert_eq!(found, format!("{0}\t{0}", gold + 1));
    assert_eq!(owner.says().as_deref(), Some("lost"));
    assert_ne!(other.ask("tokens"), tokens);
}

pub fn no_change_is_lost_or_doubled_while_the_store_dies_and_stops(version: LuaVersion) {
    const ADDED: u64 = 400;
    let setup = Setup::new();
    let mut server = setup.start();
    let Some((mut owner, _)) = start(version, &server, &[ONE]) else {
        return;
    };
    let mut gold = 0;
    for ending in [Ending::Kill, Ending::Stop, Ending::Kill, Ending::Kill] {
        // While it does so.
        owner.tell(&format!("add {ADDED}"));
        server = ending.restart(server, &setup);
        gold += ADDED;
        assert_eq!(owner.says(), Some(format!("{gold}\t{gold}")), "{ending:?}");
    }
    owner.tell("save");
    server = Ending::Kill.restart(server, &setup);
    assert_eq!(owner.says().as_deref(), Some("saved\tsaved"));
    assert_eq!(read(&server), [gold, gold]);
}

pub fn changes_from_before_a_restart_are_refused_when_there_is_a_successor(version: LuaVersion) {
    for ending in [Ending::Kill, Ending::Stop] {
        let setup = Setup::new();
        let server = setup.start();
        let Some((mut old, _)) = start(version, &server, &[ONE]) else {
            return;
        };
        ending.end(server);
        assert_eq!(old.ask("add 5"), "5\t5");
        // It sleeps over the start of the server, and with it all that it would send.
        old.send(Signal::STOP);
        let server = setup.start();
        let (mut new, found) =
            start(version, &server, &[ONE, TAKEOVER]).expect("the same Lua is here again");
        assert_eq!(found, "0\t0", "{ending:?}");
        assert_eq!(new.ask("add 1"), "1\t1");
        assert_eq!(new.ask("save"), "saved\tsaved");

        old.send(Signal::CONT);
        assert_eq!(old.ask("save"), "fenced\tfenced", "{ending:?}");
        assert_eq!(old.ask("lose"), "lost", "{ending:?}");
        assert_eq!(old.ask("put 50"), "fenced", "{ending:?}");
        assert_eq!(read(&server), [1, 1], "{ending:?}");
        assert_eq!(new.ask("add 1"), "2\t2");
        assert_eq!(new.ask("save"), "saved\tsaved");
        assert_eq!(read(&server), [2, 2], "{ending:?}");
    }
}

pub fn a_record_that_is_restored_is_lost_by_its_owner_who_can_claim_it_again(version: LuaVersion) {
    let setup = Setup::new();
    let server = setup.start();
    let Some((mut owner, _)) = start(version, &server, &[ONE]) else {
        return;
    };
    assert_eq!(owner.ask("add 3"), "3\t3");
    assert_eq!(owner.ask("save"), "saved\tsaved");
    let mut admin = server.admin();
    let label = MarkLabelRequest {
        namespace: "spec".into(),
        label: "then".into(),
        ..MarkLabelRequest::default()
    };
    admin.mark_label(label).expect("nothing has it");
    assert_eq!(owner.ask("add 4"), "7\t7");
    assert_eq!(owner.ask("save"), "saved\tsaved");
    // Of one document these are sent at once, of the other not before it is saved.
    assert_eq!(owner.ask("add 5"), "12\t12");
    let store_id = admin.status().expect("the server answers").header;
    let store_id = store_id.unwrap_or_default().store_id;
    let request = RestoreRecordsRequest {
        namespace: "spec".into(),
        collection: "account".into(),
        point: Some(RestorePoint {
            point: Some(Point::Label("then".into())),
        }),
        confirm: store_id.iter().map(|byte| format!("{byte:02x}")).collect(),
        ..RestoreRecordsRequest::default()
    };
    let told = admin.restore_records(request).expect("it begins");
    let told: Result<Vec<_>, _> = told.collect();
    let end = told.expect("it goes well").pop().and_then(|told| told.kind);
    let Some(Restored::End(end)) = end else {
        panic!("no end: {end:?}");
    };
    assert_eq!((end.changed, end.owned, end.commits), (2, 2, 1));

    assert_eq!(owner.ask("lose"), "lost");
    assert_eq!(owner.ask("save"), "not_owner\tnot_owner");
    assert_eq!(read(&server), [3, 3]);
    assert_eq!(owner.ask("claim"), "3\t3");
    assert_eq!(owner.ask("add 1"), "4\t4");
    assert_eq!(owner.ask("save"), "saved\tsaved");
    assert_eq!(read(&server), [4, 4]);
}

fn account(key: &'static str) -> Option<RecordKey> {
    Some(RecordKey {
        collection: "account".into(),
        key: key.into(),
    })
}

/// The gold that the store has, in each of the documents.
pub fn read(server: &Server) -> [u64; 2] {
    let client = server.client("spec");
    ["ann", "bob"].map(|key| {
        let op = Op {
            kind: Some(op::Kind::Get(GetOp {
                key: account(key),
                ..GetOp::default()
            })),
        };
        let record = match client.call(op, CallOptions::default()) {
            Ok(Reply {
                kind: Kind::Get(got),
                ..
            }) => got.record.expect("it was made"),
            other => panic!("not the answer to a read: {other:?}"),
        };
        let value = rmpv::decode::read_value(&mut &record.value[..]).expect("MessagePack");
        value["gold"].as_u64().expect("a number")
    })
}

/// Why somebody without a session cannot delete a document.
fn delete(server: &Server) -> Reason {
    let op = Op {
        kind: Some(op::Kind::Delete(DeleteOp {
            key: account("bob"),
            ..DeleteOp::default()
        })),
    };
    let refused = server.client("spec").call(op, CallOptions::default());
    refused.expect_err("it has an owner").reason()
}

/// The owner's session: id, fence, holders, claims.
fn session(server: &Server) -> (String, u64, u64, u64) {
    let listed = server.admin().sessions("", "").expect("the server answers");
    let [session] = &listed.sessions[..] else {
        panic!("not one session: {listed:?}");
    };
    (
        session.session_id.clone(),
        session.fence,
        session.holders,
        session.claims,
    )
}

//! All that a store has, as text: for comparing a store with what it was years ago.

use std::fmt::Write;

use stillpoint_proto::v1::{ListCollectionsOp, Op, Record, ScanOp, op, op_result};
use stillpoint_store_server::store::{
    Store,
    keys::{self, System},
    schema::ANY_NAMESPACE,
    session::Session,
};

use crate::notation;

/// Every namespace with its revision, every record with its meta, its value for reading, and its bytes.
pub fn listing(store: &Store) -> String {
    let mut text = String::new();
    for namespace in store.status().namespaces {
        let name = &namespace.namespace;
        let (revision, records) = (namespace.revision, namespace.records);
        writeln!(text, "{name}: revision {revision}, {records} records").unwrap();
        // What counts in all namespaces has no records of clients.
        let collections = match &**name {
            ANY_NAMESPACE => Vec::new(),
            name => collections(store, name),
        };
        for collection in collections {
            for (key, record) in records_of(store, name, &collection) {
                writeln!(
                    text,
                    "  {collection}/{}: {}",
                    key.escape_ascii(),
                    line(&record)
                )
                .unwrap();
            }
        }
        write_own(store, name, &mut text);
    }
    text
}

/// Records of the store's own that fixtures have.
const OWN: [(System, &[u8]); 5] = [
    (System::Timer, b"battle\0respawn"),
    (System::Cursor, b"guild-cache"),
    (System::Script, b"hero\0\0\0\0\x01"),
    (System::Schema, b"hero"),
    (System::Quarantine, b"hero\0broken"),
];

/// What the store keeps in a namespace itself: sessions with their claims, timers, cursors.
fn write_own(store: &Store, namespace: &str, text: &mut String) {
    let reader = store.reader();
    let index = store.index();
    let mut sessions: Vec<_> = (index.sessions())
        .filter(|(of, _)| &***of == namespace)
        .map(|(_, session)| session)
        .collect();
    sessions.sort_by_key(|session| session.identity());
    for session in sessions {
        let Session {
            id,
            service,
            instance,
            fence,
            resume_token,
            ttl_ms,
            holders,
            opened_ms,
            held_since_ms,
            linger_ms,
            labels,
            code_version,
            client_name,
            incarnation,
            schemas,
        } = &**session;
        writeln!(
            text,
            "  session {service} {instance}: {id} fence {fence} token {resume_token:?} ttl {ttl_ms} holders {holders} \
             opened {opened_ms} held since {held_since_ms} linger {linger_ms:?} labels {labels:?} code {code_version} \
             client {client_name} incarnation {incarnation}"
        )
        .unwrap();
        // Since format 4.
        if !schemas.is_empty() {
            writeln!(text, "    speaks {schemas:?}").unwrap();
        }
        let mut claims: Vec<_> = index.claims_of(&session.id).collect();
        claims.sort();
        for key in claims {
            let token = index.token(namespace, index.claim(key).unwrap());
            writeln!(text, "    owns {} token {token}", key.escape_ascii()).unwrap();
        }
    }
    for (system, name) in OWN {
        let key = keys::system(namespace, system, name);
        if let Some(record) = reader.record(&key).unwrap() {
            // Not every value is one MessagePack value.
            let (rev, value) = (record.mod_rev, record.value.escape_ascii());
            writeln!(
                text,
                "  {system:?} {}: revision {rev} {value}",
                name.escape_ascii()
            )
            .unwrap();
        }
    }
}

fn line(record: &Record) -> String {
    let Record {
        create_rev,
        mod_rev,
        version,
        schema,
        expires_at_ms,
        value,
        unreadable,
    } = record;
    assert_eq!(unreadable, "");
    let bytes = value.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    format!(
        "created {create_rev} revision {mod_rev} version {version} schema {schema} expires {expires_at_ms}\n    {}\n    {bytes}",
        notation::format(&notation::decode(value))
    )
}

fn collections(store: &Store, namespace: &str) -> Vec<String> {
    let list = op::Kind::ListCollections(ListCollectionsOp::default());
    match execute(store, namespace, list) {
        op_result::Kind::ListCollections(list) => list.collections,
        other => panic!("not the answer to a list: {other:?}"),
    }
}

fn records_of(store: &Store, namespace: &str, collection: &str) -> Vec<(Vec<u8>, Record)> {
    let scan = op::Kind::Scan(ScanOp {
        collection: collection.into(),
        raw: true,
        ..ScanOp::default()
    });
    match execute(store, namespace, scan) {
        op_result::Kind::Scan(page) => {
            assert!(!page.more, "a fixture is small");
            let entries = page.entries.into_iter();
            entries
                .map(|entry| (entry.key.to_vec(), entry.record.unwrap()))
                .collect()
        }
        other => panic!("not the answer to a scan: {other:?}"),
    }
}

fn execute(store: &Store, namespace: &str, kind: op::Kind) -> op_result::Kind {
    store.execute(namespace, Op { kind: Some(kind) }).unwrap()
}

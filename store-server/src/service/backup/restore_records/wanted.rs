//! Which records are brought back, to which moment, and under which names.

use std::collections::BTreeSet;

use bytes::Bytes;
use stillpoint_proto::v1::{
    GetOp, Op, Reason, RecordKey, RequestContext, RestoreRecordsRequest, ScanOp, StoreError, op,
};

use crate::store::{
    Store, keys,
    moment::{Selection, Which},
};

/// What is wanted.
#[derive(Debug)]
pub struct Wanted {
    /// The records, as they were called.
    pub of: Selection,
    /// How they are called where they are written to.
    pub names: Names,
}

/// Where records are written to.
#[derive(Debug)]
pub struct Names {
    /// The namespace.
    pub namespace: String,
    collection: String,
    key: KeyName,
    /// The records are written where they were.
    pub are_the_same: bool,
}

/// What becomes of a key.
#[derive(Debug)]
enum KeyName {
    /// It stays.
    Same,
    /// Its first bytes, so many, are replaced by these.
    Begins(usize, Bytes),
    /// It is this one.
    Is(Bytes),
}

impl Wanted {
    /// What a request wants, if the store can have such records.
    pub fn new(store: &Store, request: &RestoreRecordsRequest) -> Result<Wanted, StoreError> {
        let of = Selection {
            namespace: request.namespace.clone(),
            collection: request.collection.clone(),
            which: match request.keys.is_empty() {
                true => Which::Prefix(request.prefix.clone()),
                false => Which::Keys(request.keys.iter().cloned().collect::<BTreeSet<_>>()),
            },
        };
        check_collection(store, &of.namespace, &of.collection)?;
        if let Which::Keys(keys) = &of.which {
            if !request.prefix.is_empty() {
                return Err(invalid("name keys or a prefix, not both"));
            }
            for key in keys {
                check_key(store, &of.namespace, &of.collection, key)?;
            }
        }
        let names = Names::new(&of, request)?;
        check_collection(store, &names.namespace, &names.collection)?;
        Ok(Wanted { of, names })
    }

    /// For people: `player/42`, `3 records of player`, `player/guild-*`.
    pub fn text(&self) -> String {
        let Selection {
            collection, which, ..
        } = &self.of;
        match which {
            Which::Keys(keys) => match keys.first() {
                Some(key) if keys.len() == 1 => format!("{collection}/{}", key.escape_ascii()),
                _ => format!("{} records of {collection}", keys.len()),
            },
            Which::Prefix(prefix) => format!("{collection}/{}*", prefix.escape_ascii()),
        }
    }
}

impl Names {
    fn new(of: &Selection, request: &RestoreRecordsRequest) -> Result<Names, StoreError> {
        let or_same = |other: &str, same: &str| match other {
            "" => same.to_owned(),
            other => other.to_owned(),
        };
        let namespace = or_same(&request.as_namespace, &of.namespace);
        let collection = or_same(&request.as_collection, &of.collection);
        let other = &request.as_prefix;
        let key = match &of.which {
            _ if other.is_empty() => KeyName::Same,
            Which::Prefix(prefix) if prefix == other => KeyName::Same,
            Which::Prefix(prefix) => KeyName::Begins(prefix.len(), other.clone()),
            Which::Keys(keys) if keys.len() == 1 && keys.contains(other) => KeyName::Same,
            Which::Keys(keys) if keys.len() == 1 => KeyName::Is(other.clone()),
            Which::Keys(keys) => {
                let message = format!(
                    "{} records cannot all be called {}: name one, or another collection for all of them",
                    keys.len(),
                    other.escape_ascii()
                );
                return Err(invalid(&message));
            }
        };
        let are_the_same = namespace == of.namespace
            && collection == of.collection
            && matches!(key, KeyName::Same);
        Ok(Names {
            namespace,
            collection,
            key,
            are_the_same,
        })
    }

    /// How a record is called there.
    pub fn name(&self, store: &Store, key: &Bytes) -> Result<RecordKey, StoreError> {
        let key = match &self.key {
            KeyName::Same => key.clone(),
            KeyName::Is(other) => other.clone(),
            KeyName::Begins(bytes, other) => [other, key.get(*bytes..).unwrap_or_default()]
                .concat()
                .into(),
        };
        if !self.are_the_same {
            check_key(store, &self.namespace, &self.collection, &key)?;
        }
        Ok(RecordKey {
            collection: self.collection.clone(),
            key,
        })
    }

    /// The key in the view of a record that is called so.
    pub fn view_key(&self, name: &RecordKey) -> Bytes {
        keys::record(&self.namespace, &name.collection, &name.key)
    }
}

fn check_collection(store: &Store, namespace: &str, collection: &str) -> Result<(), StoreError> {
    store.check_context(&RequestContext {
        namespace: namespace.into(),
        ..RequestContext::default()
    })?;
    let kind = Some(op::Kind::Scan(ScanOp {
        collection: collection.into(),
        ..ScanOp::default()
    }));
    store.check(namespace, &Op { kind })
}

fn check_key(
    store: &Store,
    namespace: &str,
    collection: &str,
    key: &Bytes,
) -> Result<(), StoreError> {
    let kind = Some(op::Kind::Get(GetOp {
        key: Some(RecordKey {
            collection: collection.into(),
            key: key.clone(),
        }),
        with_claim: false,
        raw: false,
    }));
    store.check(namespace, &Op { kind })
}

fn invalid(message: &str) -> StoreError {
    StoreError::new(Reason::Invalid, message)
}

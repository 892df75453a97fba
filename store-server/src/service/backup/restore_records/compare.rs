//! What differs between records as they were and as they are.
//!
//! A record that was migrated since is no other one for that: what it was is brought to the version that the store has, and
//! compared in that. Where that fails, nobody can say what it would be now, and it stays as it is.

use bytes::Bytes;
use stillpoint_proto::v1::{self, RecordKey, RestoreChange, StoreError};

use super::wanted::Names;
use crate::store::{Store, give_back::Given, record::Record, schema::Lens, server_time_ms};

/// A record that is not what it was.
#[derive(Clone, Debug)]
pub struct Difference {
    then: Then,
    /// The same, as a key of the view.
    key: Bytes,
    /// What is there.
    now: Option<Record>,
    /// What it becomes, in the version that the store has.
    becomes: Option<Record>,
    /// Who owns it.
    owner: Option<v1::Claim>,
}

/// What a record was.
#[derive(Clone, Debug)]
pub struct Then {
    /// Where it is written to.
    pub name: RecordKey,
    /// What there was, in the version of that time; none: nothing, or something whose time is up.
    record: Option<Record>,
    /// Its time is up.
    has_expired: bool,
}

/// What comparing came to.
#[derive(Debug, Default)]
pub struct Compared {
    /// The records that differ.
    pub differences: Vec<Difference>,
    /// Those that cannot be brought to the version that the store has, as they are told.
    pub unreadable: Vec<RestoreChange>,
}

/// What records were that are to be compared, by their keys in the collection. Gives how many of them there were whose time
/// is up since, too.
pub fn named(
    store: &Store,
    names: &Names,
    portion: Vec<(Bytes, Option<Record>)>,
) -> Result<(Vec<Then>, u64), StoreError> {
    let now_ms = server_time_ms();
    let mut named = Vec::with_capacity(portion.len());
    let mut expired = 0;
    for (key, then) in portion {
        let name = names.name(store, &key)?;
        let is_over = |record: &Record| record.expires_at_ms > 0 && record.expires_at_ms <= now_ms;
        let has_expired = then.as_ref().is_some_and(is_over);
        expired += u64::from(has_expired);
        let record = then.filter(|_| !has_expired);
        // What was not there is removed, but not from where records are only copied to.
        if record.is_some() || names.are_the_same {
            named.push(Then {
                name,
                record,
                has_expired,
            });
        }
    }
    Ok((named, expired))
}

/// Compares records with what is there.
pub fn compare(store: &Store, names: &Names, was: Vec<Then>) -> Result<Compared, StoreError> {
    let mut found = Vec::with_capacity(was.len());
    let (reader, index) = (store.reader(), store.index());
    for then in was {
        let key = names.view_key(&then.name);
        let now = reader.record(&key)?;
        if differ(now.as_ref(), then.record.as_ref()) {
            let owner = index.owner(&names.namespace, &key);
            found.push((then, key, now, owner));
        }
    }
    // Scripts hold no reader up.
    drop((reader, index));
    let lens = store.lens(&names.namespace, "");
    let mut compared = Compared::default();
    for (then, key, now, owner) in found {
        let becomes = then.record.as_ref();
        let becomes = becomes.map(|record| migrated(lens.as_ref(), &then.name, record));
        let becomes = match becomes.transpose() {
            Ok(becomes) => becomes,
            Err(error) => {
                compared.unreadable.push(then.unreadable(now, error));
                continue;
            }
        };
        // One that the background job has not come to yet is compared in the same version.
        let is = (now.as_ref())
            .map(|now| migrated(lens.as_ref(), &then.name, now).unwrap_or_else(|_| now.clone()));
        if differ(is.as_ref(), becomes.as_ref()) {
            compared.differences.push(Difference {
                then,
                key,
                now,
                becomes,
                owner,
            });
        }
    }
    Ok(compared)
}

/// Whether a record is another than it was, but for how often it was written.
fn differ(now: Option<&Record>, then: Option<&Record>) -> bool {
    let content = |record: &Record| (record.value.clone(), record.schema, record.expires_at_ms);
    now.map(content) != then.map(content)
}

/// A record in the version that the store has.
fn migrated(lens: Option<&Lens>, name: &RecordKey, record: &Record) -> Result<Record, StoreError> {
    let mut record = record.clone();
    if let Some(lens) = lens {
        let (value, named) = (record.value, Some(record.schema));
        (record.value, record.schema) = lens.to_store(&name.collection, &name.key, value, named)?;
    }
    Ok(record)
}

impl Then {
    /// How it is told that it stays as it is now, and why.
    fn unreadable(self, now: Option<Record>, error: StoreError) -> RestoreChange {
        let then = self.record.map(|record| v1::Record {
            value: Bytes::new(),
            unreadable: error.message,
            ..record.to_proto()
        });
        RestoreChange {
            key: Some(self.name),
            now: now.map(|record| record.to_proto()),
            then,
            ..RestoreChange::default()
        }
    }
}

impl Difference {
    /// Where it is written to.
    pub fn name(&self) -> &RecordKey {
        &self.then.name
    }

    /// About how many bytes its commit has for it.
    pub fn bytes(&self) -> usize {
        self.key.len() + (self.becomes.as_ref()).map_or(0, |record| record.value.len())
    }

    /// What is to be written.
    pub fn given(&self) -> Given {
        Given {
            key: self.key.clone(),
            seen_rev: self.now.as_ref().map_or(0, |now| now.mod_rev),
            then: self.becomes.clone(),
        }
    }

    /// What it was, to be compared again.
    pub fn then(self) -> Then {
        self.then
    }

    /// What is told of it, with whom it was taken from, where that is known for certain.
    pub fn told(self, owner: Option<v1::Claim>) -> RestoreChange {
        RestoreChange {
            key: Some(self.then.name),
            now: self.now.map(|record| record.to_proto()),
            then: self.becomes.map(|record| record.to_proto()),
            owner: owner.or(self.owner),
            has_expired: self.then.has_expired,
        }
    }
}

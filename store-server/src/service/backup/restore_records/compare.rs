//! What differs between records as they were and as they are.

use bytes::Bytes;
use stillpoint_proto::v1::{self, RecordKey, RestoreChange, StoreError};

use super::wanted::Names;
use crate::store::{Store, give_back::Given, record::Record, server_time_ms};

/// A record that is not what it was.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Where it is written to.
    pub name: RecordKey,
    /// The same, as a key of the view.
    key: Bytes,
    /// What is there.
    now: Option<Record>,
    /// What there was; none: nothing, or something whose time is up.
    then: Option<Record>,
    /// Its time is up.
    pub has_expired: bool,
    /// Who owns it.
    owner: Option<v1::Claim>,
}

/// What comparing came to.
#[derive(Debug, Default)]
pub struct Compared {
    /// The records that differ.
    pub differences: Vec<Difference>,
    /// Records there were whose time is up since.
    pub expired: u64,
}

/// Compares some records, by their keys in the collection, with what is there.
pub fn compare(
    store: &Store,
    names: &Names,
    portion: Vec<(Bytes, Option<Record>)>,
) -> Result<Compared, StoreError> {
    let now_ms = server_time_ms();
    let mut named = Vec::with_capacity(portion.len());
    let mut expired = 0;
    for (key, then) in portion {
        let name = names.name(store, &key)?;
        let is_over = |record: &Record| record.expires_at_ms > 0 && record.expires_at_ms <= now_ms;
        let has_expired = then.as_ref().is_some_and(is_over);
        expired += u64::from(has_expired);
        let then = then.filter(|_| !has_expired);
        // What was not there is removed, but not from where records are only copied to.
        if then.is_some() || names.are_the_same {
            named.push((name, then, has_expired));
        }
    }
    let mut differences = Vec::new();
    let reader = store.reader();
    let index = store.index();
    for (name, then, has_expired) in named {
        let key = names.view_key(&name);
        let now = reader.record(&key)?;
        if differ(now.as_ref(), then.as_ref()) {
            differences.push(Difference {
                owner: index.owner(&names.namespace, &key),
                name,
                key,
                now,
                then,
                has_expired,
            });
        }
    }
    Ok(Compared {
        differences,
        expired,
    })
}

/// Whether a record is another than it was, but for how often it was written.
fn differ(now: Option<&Record>, then: Option<&Record>) -> bool {
    let content = |record: &Record| (record.value.clone(), record.schema, record.expires_at_ms);
    now.map(content) != then.map(content)
}

impl Difference {
    /// About how many bytes its commit has for it.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.then.as_ref().map_or(0, |then| then.value.len())
    }

    /// What is to be written.
    pub fn given(&self) -> Given {
        Given {
            key: self.key.clone(),
            seen_rev: self.now.as_ref().map_or(0, |now| now.mod_rev),
            then: self.then.clone(),
        }
    }

    /// Compares again; `None`: it does not differ any more.
    pub fn again(self, store: &Store, names: &Names) -> Result<Option<Difference>, StoreError> {
        let reader = store.reader();
        let now = reader.record(&self.key)?;
        let owner = store.index().owner(&names.namespace, &self.key);
        let differs = differ(now.as_ref(), self.then.as_ref());
        Ok(differs.then_some(Difference { now, owner, ..self }))
    }

    /// What is told of it, with whom it was taken from, where that is known for certain.
    pub fn told(self, owner: Option<v1::Claim>) -> RestoreChange {
        RestoreChange {
            key: Some(self.name),
            now: self.now.map(|record| record.to_proto()),
            then: self.then.map(|record| record.to_proto()),
            owner: owner.or(self.owner),
            has_expired: self.has_expired,
        }
    }
}

//! Records as they are now, page by page.

use std::ops::Bound;

use bytes::Bytes;
use stillpoint_proto::v1::StoreError;

use super::{Bounds, Room, Selection, States, Tell, Which};
use crate::{
    engine::KeyRange,
    store::{
        handle::Store,
        keys,
        read::{decode, engine_failed},
        record::Record,
    },
};

impl Store {
    /// The selected records as they were after the commit `seq`: also those that were not written since. Fails as
    /// [`written_since`](Self::written_since) does.
    pub(crate) fn states_at(
        &self,
        of: &Selection,
        seq: u64,
        bounds: Bounds,
        tell: Tell<'_>,
    ) -> Result<States, StoreError> {
        // First what there is, then what was written since: so what is missed here is found there.
        let mut room = Room::new(bounds);
        let mut states = States::new();
        let live: Box<dyn Iterator<Item = _>> = match &of.which {
            Which::Keys(keys) => Box::new(keys.iter().map(|key| self.live_record(of, key))),
            Which::Prefix(_) => Box::new(self.live_records(of.range())),
        };
        for found in live {
            let (key, record) = found?;
            room.take(key.len() + record.as_ref().map_or(0, |r| r.value.len()))?;
            states.insert(key, record);
        }
        states.extend(self.written_since(of, seq, bounds, tell)?);
        Ok(states)
    }

    fn live_record(
        &self,
        of: &Selection,
        key: &Bytes,
    ) -> Result<(Bytes, Option<Record>), StoreError> {
        let view_key = keys::record(&of.namespace, &of.collection, key);
        Ok((key.clone(), self.reader().record(&view_key)?))
    }

    /// The records of a range as they are, by their keys in the collection, in pages of one revision each.
    pub(crate) fn live_records(
        &self,
        range: KeyRange,
    ) -> impl Iterator<Item = Result<(Bytes, Option<Record>), StoreError>> {
        let mut rest = Some(range);
        let mut page = Vec::new().into_iter();
        std::iter::from_fn(move || {
            loop {
                if let Some(next) = page.next() {
                    return Some(next);
                }
                match self.page(rest.take()?) {
                    Ok((found, after)) => (page, rest) = (found.into_iter(), after),
                    Err(error) => return Some(Err(error)),
                }
            }
        })
    }

    fn page(&self, (low, high): KeyRange) -> Result<Page, StoreError> {
        let mut found = Vec::with_capacity(PAGE_RECORDS);
        let (mut last, mut bytes) = (None, 0);
        let reader = self.reader();
        let range = (low, high.clone());
        for pair in reader.snapshot().scan(range, false).take(PAGE_RECORDS) {
            let (key, value) = pair.map_err(engine_failed)?;
            let record = decode(&value)?;
            bytes += value.len();
            found.push(Ok((own_key(&key), Some(record))));
            last = Some(key);
            if bytes >= PAGE_BYTES {
                break;
            }
        }
        let is_full = found.len() == PAGE_RECORDS || bytes >= PAGE_BYTES;
        let rest = last.filter(|_| is_full);
        Ok((found, rest.map(|key| (Bound::Excluded(key), high))))
    }
}

/// Records read while commits wait ...
const PAGE_RECORDS: usize = 256;

/// ... and bytes of them; the record that exceeds it is the last one.
const PAGE_BYTES: usize = 1 << 20;

/// Records, and the range behind them if there may be more.
type Page = (
    Vec<Result<(Bytes, Option<Record>), StoreError>>,
    Option<KeyRange>,
);

/// A record's key in its collection.
pub(crate) fn own_key(view_key: &Bytes) -> Bytes {
    let key = keys::split_record(view_key).map_or(&b""[..], |(_, _, key)| key);
    view_key.slice_ref(key)
}

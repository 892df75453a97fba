//! Reads: each answered from one [`Snapshot`], so from one revision.

use bytes::Bytes;
use stillpoint_proto::v1::{
    BatchGetResult, GetResult, ListCollectionsOp, ListCollectionsResult, OpResult, Reason,
    RecordKey, ScanEntry, ScanOp, ScanResult, StoreError, op, op_result,
};

use super::{keys, record::Record, view::Snapshot};
use crate::engine::EngineError;

/// Bounds of a scan page.
#[derive(Clone, Copy, Debug)]
pub struct PageLimits {
    /// Records.
    pub records: usize,
    /// Bytes of keys and values; the record that exceeds it is the last one.
    pub bytes: usize,
}

impl PageLimits {
    /// How many may be given to who asks for `limit`; 0: as many as there may be.
    fn count(&self, limit: u32) -> usize {
        match limit as usize {
            0 => self.records,
            limit => limit.min(self.records),
        }
    }
}

/// Answers a read operation. The operation has been validated; `None`: it is no read.
pub fn read(
    snapshot: &Snapshot<'_>,
    namespace: &str,
    op: &op::Kind,
    limits: PageLimits,
) -> Option<OpResult> {
    let result = match op {
        op::Kind::Get(get) => get_record(snapshot, namespace, get.key.as_ref()).map(|record| {
            op_result::Kind::Get(GetResult {
                record,
                claim: None,
            })
        }),
        op::Kind::BatchGet(batch) => batch_get(snapshot, namespace, &batch.keys, limits),
        op::Kind::Scan(scan) => scan_page(snapshot, namespace, scan, limits),
        op::Kind::ListCollections(list) => list_collections(snapshot, namespace, list, limits),
        _ => return None,
    };
    Some(OpResult {
        kind: Some(result.unwrap_or_else(op_result::Kind::Error)),
    })
}

fn batch_get(
    snapshot: &Snapshot<'_>,
    namespace: &str,
    keys: &[RecordKey],
    limits: PageLimits,
) -> Result<op_result::Kind, StoreError> {
    let mut room = Room::new(limits.bytes);
    let results = keys.iter().map(|key| {
        let record = get_record(snapshot, namespace, Some(key))?;
        room.take(record.as_ref())?;
        Ok(GetResult {
            record,
            claim: None,
        })
    });
    Ok(op_result::Kind::BatchGet(BatchGetResult {
        results: results.collect::<Result<_, StoreError>>()?,
        revision: snapshot.namespace(namespace).revision,
    }))
}

/// The bytes of records that one answer may still take.
#[derive(Debug)]
pub struct Room {
    left: usize,
    limit: usize,
}

impl Room {
    /// An empty answer.
    pub fn new(limit: usize) -> Room {
        Room { left: limit, limit }
    }

    /// Puts a record into the answer.
    pub fn take(
        &mut self,
        record: Option<&stillpoint_proto::v1::Record>,
    ) -> Result<(), StoreError> {
        self.take_bytes(record.map_or(0, |r| r.value.len() + ENTRY_BYTES))
    }

    /// Puts something of so many bytes into the answer.
    pub fn take_bytes(&mut self, bytes: usize) -> Result<(), StoreError> {
        let Some(left) = self.left.checked_sub(bytes) else {
            let message = format!(
                "the answer would have more than {} bytes (half of limits.message_bytes): ask for fewer records",
                self.limit
            );
            return Err(StoreError::new(Reason::TooLarge, message));
        };
        self.left = left;
        Ok(())
    }
}

fn get_record(
    snapshot: &Snapshot<'_>,
    namespace: &str,
    key: Option<&RecordKey>,
) -> Result<Option<stillpoint_proto::v1::Record>, StoreError> {
    let Some(key) = key else {
        return Ok(None);
    };
    let stored = snapshot
        .get(&keys::record(namespace, &key.collection, &key.key))
        .map_err(engine_failed)?;
    stored
        .map(|bytes| Ok(decode(&bytes)?.to_proto()))
        .transpose()
}

fn scan_page(
    snapshot: &Snapshot<'_>,
    namespace: &str,
    scan: &ScanOp,
    limits: PageLimits,
) -> Result<op_result::Kind, StoreError> {
    let range = keys::scan_range(
        namespace,
        &scan.collection,
        &scan.prefix,
        &scan.start,
        &scan.end,
    );
    let records_max = limits.count(scan.limit);
    let mut page = ScanResult {
        revision: snapshot.namespace(namespace).revision,
        ..Default::default()
    };
    let mut bytes = 0;
    for pair in snapshot.scan(range, scan.reverse) {
        let (view_key, stored) = pair.map_err(engine_failed)?;
        let key_at = namespace.len() + scan.collection.len() + 2;
        let key = view_key.slice(key_at..);
        if page.entries.len() >= records_max || bytes >= limits.bytes {
            page.more = true;
            page.next_key = match page.entries.last() {
                // In reverse, `end` is exclusive: the last key given is where to go on.
                Some(last) if scan.reverse => last.key.clone(),
                _ => key,
            };
            break;
        }
        let mut record = decode(&stored)?.to_proto();
        if scan.keys_only {
            record.value = Bytes::new();
        }
        bytes += key.len() + record.value.len() + ENTRY_BYTES;
        page.entries.push(ScanEntry {
            key,
            record: Some(record),
        });
    }
    Ok(op_result::Kind::Scan(page))
}

/// Names the collections, looking at one record of each.
fn list_collections(
    snapshot: &Snapshot<'_>,
    namespace: &str,
    list: &ListCollectionsOp,
    limits: PageLimits,
) -> Result<op_result::Kind, StoreError> {
    let limit = limits.count(list.limit);
    let mut page = ListCollectionsResult::default();
    let mut last = list.after.clone();
    loop {
        let range = keys::collections_after(namespace, &last);
        let Some(pair) = snapshot.scan(range, false).next() else {
            break;
        };
        let (key, _) = pair.map_err(engine_failed)?;
        let (_, collection, _) =
            keys::split_record(&key).ok_or_else(|| unreadable("its key is none"))?;
        last = collection.to_owned();
        if keys::is_system(collection) {
            continue;
        }
        if page.collections.len() >= limit {
            page.more = true;
            break;
        }
        page.collections.push(last.clone());
    }
    Ok(op_result::Kind::ListCollections(page))
}

/// About what the meta of one record costs in a message.
const ENTRY_BYTES: usize = 48;

/// Reads a stored record; one that cannot be read is the view's damage, not the caller's.
pub fn decode(stored: &Bytes) -> Result<Record, StoreError> {
    Record::decode(stored).map_err(|detail| unreadable(&detail))
}

fn unreadable(detail: &str) -> StoreError {
    let message = format!(
        "a record in the view cannot be read ({detail}): stop the server and run `stillpoint repair --rebuild-view`"
    );
    StoreError::new(Reason::Internal, message)
}

/// The error of a read that the engine failed.
pub fn engine_failed(error: EngineError) -> StoreError {
    let message = format!("{error}: stop the server and run `stillpoint repair --rebuild-view`");
    StoreError::new(Reason::Internal, message)
}

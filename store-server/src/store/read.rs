//! Reads: each answered from one [`Snapshot`], so from one revision.

use bytes::Bytes;
use stillpoint_proto::v1::{
    BatchGetResult, GetResult, OpResult, Reason, RecordKey, ScanEntry, ScanOp, ScanResult,
    StoreError, op, op_result,
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

/// Answers a read operation. The operation has been validated; `None`: it is no read.
pub fn read(
    snapshot: &Snapshot<'_>,
    namespace: &str,
    op: &op::Kind,
    limits: PageLimits,
) -> Option<OpResult> {
    let result = match op {
        op::Kind::Get(get) => get_record(snapshot, namespace, get.key.as_ref())
            .map(|record| op_result::Kind::Get(GetResult { record })),
        op::Kind::BatchGet(batch) => batch_get(snapshot, namespace, &batch.keys),
        op::Kind::Scan(scan) => scan_page(snapshot, namespace, scan, limits),
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
) -> Result<op_result::Kind, StoreError> {
    let results = keys.iter().map(|key| {
        let record = get_record(snapshot, namespace, Some(key))?;
        Ok(GetResult { record })
    });
    Ok(op_result::Kind::BatchGet(BatchGetResult {
        results: results.collect::<Result<_, StoreError>>()?,
        revision: snapshot.namespace(namespace).revision,
    }))
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
    let records_max = match scan.limit as usize {
        0 => limits.records,
        limit => limit.min(limits.records),
    };
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

/// The names of the collections that have records, in order, those after `after`, at most `limit`. Looks at one record
/// of each.
pub fn collections(
    snapshot: &Snapshot<'_>,
    namespace: &str,
    after: &str,
    limit: usize,
) -> Result<Vec<String>, StoreError> {
    let mut found: Vec<String> = Vec::new();
    while found.len() < limit {
        let last = found.last().map_or(after, String::as_str);
        let range = keys::collections_after(namespace, last);
        let Some(pair) = snapshot.scan(range, false).next() else {
            break;
        };
        let (key, _) = pair.map_err(engine_failed)?;
        let Some((_, collection, _)) = keys::split_record(&key) else {
            break;
        };
        found.push(collection.to_owned());
    }
    Ok(found)
}

/// About what the meta of one record costs in a message.
const ENTRY_BYTES: usize = 48;

/// Reads a stored record; one that cannot be read is the view's damage, not the caller's.
pub fn decode(stored: &Bytes) -> Result<Record, StoreError> {
    Record::decode(stored).map_err(|detail| {
        let message = format!(
            "a record in the view cannot be read ({detail}): stop the server and run `stillpoint repair --rebuild-view`"
        );
        StoreError::new(Reason::Internal, message)
    })
}

/// The error of a read that the engine failed.
pub fn engine_failed(error: EngineError) -> StoreError {
    let message = format!("{error}: stop the server and run `stillpoint repair --rebuild-view`");
    StoreError::new(Reason::Internal, message)
}

//! Records as objects that print as JSON.

use rmpv::Value;
use stillpoint_proto::v1::{Record, ScanEntry};

use crate::json;

/// A map with these entries, in this order.
pub fn object<'a>(entries: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let entry = |(key, value): (&str, Value)| (key.into(), value);
    Value::Map(entries.into_iter().map(entry).collect())
}

/// A key as a JSON string, or as `{"$bin": ...}` where it is no UTF-8.
pub fn key_value(key: &[u8]) -> Value {
    match std::str::from_utf8(key) {
        Ok(text) => text.into(),
        Err(_) => Value::Binary(key.to_vec()),
    }
}

/// A record with its value and meta.
pub fn record_value(record: &Record) -> Result<Value, String> {
    let mut entries = vec![("value", json::from_msgpack(&record.value)?)];
    entries.extend(meta(record));
    Ok(object(entries))
}

/// One record of a scan; without its value where the scan was of keys only, or the record cannot be migrated.
pub fn entry_value(entry: &ScanEntry, keys_only: bool) -> Result<Value, String> {
    let mut entries = vec![("key", key_value(&entry.key))];
    if let Some(record) = &entry.record {
        if !keys_only && record.unreadable.is_empty() {
            entries.push(("value", json::from_msgpack(&record.value)?));
        }
        entries.extend(meta(record));
    }
    Ok(object(entries))
}

/// What is known of a record beside its value; what is not set is left out.
pub fn meta(record: &Record) -> Vec<(&'static str, Value)> {
    let mut entries = vec![
        ("rev", record.mod_rev.into()),
        ("version", record.version.into()),
        ("create_rev", record.create_rev.into()),
    ];
    if record.schema > 0 {
        entries.push(("schema", record.schema.into()));
    }
    if !record.unreadable.is_empty() {
        entries.push(("unreadable", record.unreadable.as_str().into()));
    }
    if record.expires_at_ms > 0 {
        entries.push(("expires_at_ms", record.expires_at_ms.into()));
    }
    entries
}

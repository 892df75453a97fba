//! The file between `dump` and `load`: JSON lines.
//!
//! The first line is `{"format": "stillpoint-dump", "version": 1, "namespace": ...}`, each that follows one record, and
//! the last one `{"end": true, "records": N}`, without which the file has been cut off.

use rmpv::Value;
use stillpoint_proto::v1::{Record, ScanEntry};

use crate::{
    address::Address,
    json,
    record::{key_value, meta, object},
};

/// What the header says the file is.
const FORMAT: &str = "stillpoint-dump";

/// The version written; later ones are refused.
const VERSION: u64 = 1;

/// One line of a dump.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// The first line.
    Header {
        /// The namespace dumped.
        namespace: String,
    },
    /// A record.
    Record(Box<DumpedRecord>),
    /// The last line.
    End {
        /// Records before it.
        records: u64,
    },
}

/// A record as it was dumped; its revisions are not restored, so they are not read.
#[derive(Clone, Debug, PartialEq)]
pub struct DumpedRecord {
    /// Which record.
    pub address: Address,
    /// Its value.
    pub value: Value,
    /// The version of its data schema; 0 also where none is told, as dumps were before there were migrations.
    pub schema: u32,
    /// When it expires, in milliseconds since 1970; 0: never.
    pub expires_at_ms: u64,
}

/// The first line.
pub fn header_line(namespace: &str) -> String {
    let header = object([
        ("format", FORMAT.into()),
        ("version", VERSION.into()),
        ("namespace", namespace.into()),
    ]);
    json::to_string(&header, false)
}

/// The line of a record.
pub fn record_line(collection: &str, entry: &ScanEntry) -> Result<String, String> {
    let record = entry.record.clone().unwrap_or_default();
    let mut entries = vec![
        ("collection", collection.into()),
        ("key", key_value(&entry.key)),
        ("value", read_value(&record, collection, &entry.key)?),
    ];
    entries.extend(meta(&record));
    if record.schema == 0 {
        // A version, too: the one before the first migration.
        entries.push(("schema", record.schema.into()));
    }
    Ok(json::to_string(&object(entries), false))
}

fn read_value(record: &Record, collection: &str, key: &[u8]) -> Result<Value, String> {
    json::from_msgpack(&record.value).map_err(|error| {
        let (collection, key) = (collection.into(), key.to_vec());
        format!("{}: {error}", Address { collection, key })
    })
}

/// The last line.
pub fn end_line(records: u64) -> String {
    json::to_string(
        &object([("end", true.into()), ("records", records.into())]),
        false,
    )
}

/// Reads a line.
pub fn read_line(text: &str) -> Result<Line, String> {
    let line = json::parse(text)?;
    let fields = line.as_map().ok_or("no JSON object")?;
    let get = |name: &str| {
        let named = |(key, _): &&(Value, Value)| key.as_str() == Some(name);
        fields.iter().find(named).map(|(_, value)| value)
    };
    if let Some(format) = get("format") {
        read_header(format, get("version"), get("namespace"))
    } else if get("end").is_some() {
        let records = get("records").and_then(Value::as_u64);
        Ok(Line::End {
            records: records.ok_or("no number of records")?,
        })
    } else {
        read_record(get).map(|record| Line::Record(Box::new(record)))
    }
}

fn read_header(
    format: &Value,
    version: Option<&Value>,
    namespace: Option<&Value>,
) -> Result<Line, String> {
    if format.as_str() != Some(FORMAT) {
        return Err(format!("format {format} is not \"{FORMAT}\""));
    }
    match version.and_then(Value::as_u64) {
        Some(VERSION) => {}
        Some(version) => {
            return Err(format!(
                "the dump has version {version}, this program reads {VERSION}: use a newer one"
            ));
        }
        None => return Err("the header has no version".into()),
    }
    let namespace = namespace
        .and_then(Value::as_str)
        .ok_or("the header has no namespace")?;
    Ok(Line::Header {
        namespace: namespace.into(),
    })
}

fn read_record<'a>(get: impl Fn(&str) -> Option<&'a Value>) -> Result<DumpedRecord, String> {
    let collection = get("collection")
        .and_then(Value::as_str)
        .ok_or("no \"collection\"")?;
    let key = match get("key") {
        Some(Value::String(text)) => text.as_bytes().to_vec(),
        Some(Value::Binary(bytes)) => bytes.clone(),
        _ => return Err("no \"key\"".into()),
    };
    let number = |name: &str| match get(name) {
        Some(value) => value.as_u64().ok_or(format!("{name:?} is no number")),
        None => Ok(0),
    };
    Ok(DumpedRecord {
        address: Address {
            collection: collection.into(),
            key,
        },
        value: get("value").ok_or("no \"value\"")?.clone(),
        schema: u32::try_from(number("schema")?).map_err(|_| "\"schema\" is too large")?,
        expires_at_ms: number("expires_at_ms")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_from_its_line() {
        let entry = ScanEntry {
            key: vec![0xff, 0].into(),
            record: Some(Record {
                value: b"\xc4\x01\x00".to_vec().into(),
                create_rev: 3,
                mod_rev: 7,
                version: 2,
                schema: 4,
                expires_at_ms: 99,
                ..Record::default()
            }),
        };
        let line = record_line("blob", &entry).unwrap();
        assert_eq!(
            line,
            r#"{"collection":"blob","key":{"$bin":"/wA="},"value":{"$bin":"AA=="},"rev":7,"version":2,"create_rev":3,"schema":4,"expires_at_ms":99}"#
        );
        let expected = DumpedRecord {
            address: Address {
                collection: "blob".into(),
                key: vec![0xff, 0],
            },
            value: Value::Binary(vec![0]),
            schema: 4,
            expires_at_ms: 99,
        };
        assert_eq!(read_line(&line), Ok(Line::Record(Box::new(expected))));
    }

    #[test]
    fn header_and_end_come_back() {
        let namespace = "world1".to_owned();
        assert_eq!(
            read_line(&header_line("world1")),
            Ok(Line::Header { namespace })
        );
        assert_eq!(read_line(&end_line(12)), Ok(Line::End { records: 12 }));
    }

    #[test]
    fn foreign_and_newer_lines_are_refused() {
        for (line, message) in [
            ("[]", "no JSON object"),
            ("{}", "no \"collection\""),
            (r#"{"collection":"a","value":1}"#, "no \"key\""),
            (r#"{"collection":"a","key":"b"}"#, "no \"value\""),
            (
                r#"{"collection":"a","key":"b","value":1,"schema":-1}"#,
                "\"schema\" is no number",
            ),
            (
                r#"{"format":"x","version":1}"#,
                "is not \"stillpoint-dump\"",
            ),
            (
                r#"{"format":"stillpoint-dump","version":2}"#,
                "the dump has version 2",
            ),
            (
                r#"{"format":"stillpoint-dump","version":1}"#,
                "no namespace",
            ),
        ] {
            let error = read_line(line).unwrap_err();
            assert!(error.contains(message), "{line}: {error}");
        }
    }
}

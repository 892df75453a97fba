//! Whether a record is there already.

use rmpv::Value;
use stillpoint_proto::v1::Record;

use crate::{dump_format::DumpedRecord, json};

/// Whether the store's record has the dumped value, in whatever width its numbers are written. The order of a document's fields
/// says nothing, and a migration changes it.
pub fn is_same(dumped: &DumpedRecord, current: &Record) -> bool {
    let encoded = |value: Value| json::to_msgpack(&in_order(value));
    current.schema == dumped.schema
        && json::from_msgpack(&current.value)
            .is_ok_and(|value| encoded(value) == encoded(dumped.value.clone()))
}

/// A value with the fields of its documents in an order that depends on nothing but their names.
fn in_order(value: Value) -> Value {
    match value {
        Value::Map(fields) => {
            let fields = fields.into_iter();
            let mut fields: Vec<_> = fields
                .map(|(name, value)| (in_order(name), in_order(value)))
                .collect();
            fields.sort_by_cached_key(|(name, _)| json::to_msgpack(name));
            Value::Map(fields)
        }
        Value::Array(items) => Value::Array(items.into_iter().map(in_order).collect()),
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_same_as(dumped: &str, current: &str, schema: u32) -> bool {
        let dumped = DumpedRecord {
            address: "player/1".parse().unwrap(),
            value: json::parse(dumped).unwrap(),
            schema: 1,
            expires_at_ms: 0,
        };
        let current = Record {
            value: json::to_msgpack(&json::parse(current).unwrap()).into(),
            schema,
            ..Record::default()
        };
        is_same(&dumped, &current)
    }

    #[test]
    fn the_order_of_fields_says_nothing_that_of_items_does() {
        let dumped = r#"{"name": "Ann", "bag": [{"n": 1, "of": "bow"}, 2]}"#;
        assert!(is_same_as(
            dumped,
            r#"{"bag": [{"of": "bow", "n": 1}, 2], "name": "Ann"}"#,
            1
        ));
        for other in [
            r#"{"bag": [2, {"of": "bow", "n": 1}], "name": "Ann"}"#,
            r#"{"bag": [{"of": "bow", "n": 1}, 2], "name": "Bob"}"#,
            r#"{"name": "Ann"}"#,
        ] {
            assert!(!is_same_as(dumped, other, 1), "{other}");
        }
        assert!(!is_same_as(dumped, dumped, 2), "of another version");
    }
}

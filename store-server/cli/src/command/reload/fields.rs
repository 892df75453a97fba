//! Reading what the reload kit answers: Lua tables, of which each field may be missing, as an older or a foreign kit says
//! less.

use rmpv::Value;

/// A field; nil where there is none.
pub fn field<'a>(value: &'a Value, name: &str) -> &'a Value {
    let entries = value.as_map().map(Vec::as_slice).unwrap_or_default();
    let found = entries.iter().find(|(key, _)| key.as_str() == Some(name));
    found.map_or(&Value::Nil, |(_, value)| value)
}

/// A field that is a list; an empty table of Lua may come as a map.
pub fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    field(value, name)
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// A field as text, whatever it is; empty where there is none.
pub fn text(value: &Value, name: &str) -> String {
    match field(value, name) {
        Value::Nil => String::new(),
        found => plain(found),
    }
}

/// A value as a person would write it: strings without quotes.
pub fn plain(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None => crate::json::to_string(value, false),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::json;

    /// The value that this JSON is.
    pub fn value(json: &str) -> Value {
        json::parse(json).unwrap()
    }

    #[test]
    fn what_is_not_there_is_empty() {
        let report = value(r#"{"changed": ["a", 1], "vanished": {}, "generation": 7}"#);
        assert_eq!(list(&report, "changed").len(), 2);
        assert!(list(&report, "vanished").is_empty() && list(&report, "added").is_empty());
        assert_eq!(text(&report, "generation"), "7");
        assert_eq!(text(&report, "program"), "");
        assert_eq!(text(&Value::Nil, "program"), "");
    }
}

//! What differs between two documents, place by place.
//!
//! Maps are compared key by key. Arrays are compared from both ends: what is alike there is left out, what remains is
//! compared element by element, and the rest was added or removed. That finds an element pushed, popped, inserted or
//! removed; several at once in different places may show as more changes than were made.

use rmpv::Value;

use crate::{
    json,
    record::{key_value, object},
};

/// A place that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    /// Where, e.g. `bag.items[3]`, counted from 0; empty: the whole document.
    pub path: String,
    /// What was there; none: nothing.
    pub before: Option<Value>,
    /// What is there; none: nothing.
    pub after: Option<Value>,
}

impl Changed {
    /// For programs.
    pub fn to_value(&self) -> Value {
        object([
            ("path", self.path.as_str().into()),
            ("before", self.before.clone().unwrap_or(Value::Nil)),
            ("after", self.after.clone().unwrap_or(Value::Nil)),
        ])
    }
}

/// What differs between two documents; none is one that does not exist.
pub fn changes(before: Option<&Value>, after: Option<&Value>) -> Vec<Changed> {
    let mut found = Vec::new();
    compare(String::new(), before, after, &mut found);
    found
}

fn compare(path: String, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Changed>) {
    match (before, after) {
        (Some(before), Some(after)) if are_same(before, after) => {}
        (Some(Value::Map(before)), Some(Value::Map(after))) => {
            compare_maps(&path, before, after, found);
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            compare_arrays(&path, before, after, found);
        }
        (None, None) => {}
        (before, after) => found.push(Changed {
            path,
            before: before.cloned(),
            after: after.cloned(),
        }),
    }
}

type Entries = [(Value, Value)];

fn compare_maps(path: &str, before: &Entries, after: &Entries, found: &mut Vec<Changed>) {
    for (key, value) in before {
        compare(field(path, key), Some(value), get(after, key), found);
    }
    for (key, value) in after {
        if get(before, key).is_none() {
            compare(field(path, key), None, Some(value), found);
        }
    }
}

fn compare_arrays(path: &str, before: &[Value], after: &[Value], found: &mut Vec<Changed>) {
    let mut pairs = before.iter().zip(after);
    let first = pairs.position(|(before, after)| !are_same(before, after));
    let first = first.unwrap_or(before.len().min(after.len()));
    let mut pairs = before[first..]
        .iter()
        .rev()
        .zip(after[first..].iter().rev());
    let alike = pairs.position(|(before, after)| !are_same(before, after));
    let alike = alike.unwrap_or(before.len().min(after.len()) - first);
    let before = &before[..before.len() - alike];
    let after = &after[..after.len() - alike];
    for at in first..before.len().max(after.len()) {
        compare(
            format!("{path}[{at}]"),
            before.get(at),
            after.get(at),
            found,
        );
    }
}

fn get<'a>(entries: &'a Entries, key: &Value) -> Option<&'a Value> {
    let mut entries = entries.iter();
    entries
        .find(|(other, _)| other == key)
        .map(|(_, value)| value)
}

/// Whether two values look the same. A float that is no number is none that is equal to itself.
fn are_same(before: &Value, after: &Value) -> bool {
    before == after || json::to_string(before, false) == json::to_string(after, false)
}

fn field(path: &str, key: &Value) -> String {
    let name = key.as_str().filter(|name| is_plain(name));
    match (name, path) {
        (Some(name), "") => name.into(),
        (Some(name), path) => format!("{path}.{name}"),
        (None, path) => format!("{path}[{}]", key_text(key)),
    }
}

/// Whether a key needs no quotes in a path.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    !name.is_empty() && name.chars().all(plain)
}

fn key_text(key: &Value) -> String {
    match key {
        Value::Binary(bytes) => json::to_string(&key_value(bytes), false),
        key => json::to_string(key, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(before: &str, after: &str) -> Vec<String> {
        let parse = |text: &str| (!text.is_empty()).then(|| json::parse(text).unwrap());
        let changed = changes(parse(before).as_ref(), parse(after).as_ref());
        let text = |value: &Option<Value>| match value {
            Some(value) => json::to_string(value, false),
            None => "nothing".into(),
        };
        (changed.iter())
            .map(|c| format!("{}: {} -> {}", c.path, text(&c.before), text(&c.after)))
            .collect()
    }

    #[test]
    fn maps_differ_key_by_key_at_any_depth() {
        let before = r#"{"gold": 100, "bag": {"sword": 1, "rope": 2}, "title": "Dr", "same": [1]}"#;
        let after = r#"{"gold": 50, "bag": {"rope": 2, "a b": true}, "same": [1], "new": {}}"#;
        assert_eq!(
            lines(before, after),
            [
                "gold: 100 -> 50",
                "bag.sword: 1 -> nothing",
                "bag[\"a b\"]: nothing -> true",
                "title: \"Dr\" -> nothing",
                "new: nothing -> {}",
            ]
        );
    }

    #[test]
    fn arrays_differ_where_they_are_not_alike_from_both_ends() {
        assert_eq!(lines("[1,2,3]", "[1,2,3,4]"), ["[3]: nothing -> 4"]);
        assert_eq!(lines("[1,2,3]", "[2,3]"), ["[0]: 1 -> nothing"]);
        assert_eq!(lines("[1,1]", "[1]"), ["[1]: 1 -> nothing"]);
        assert_eq!(
            lines(r#"{"a": [1, {"n": 1}, 3]}"#, r#"{"a": [1, {"n": 2}, 3]}"#),
            ["a[1].n: 1 -> 2"]
        );
        assert_eq!(lines("[]", "[]"), Vec::<String>::new());
        assert_eq!(
            lines("[]", "[1,2]"),
            ["[0]: nothing -> 1", "[1]: nothing -> 2"]
        );
    }

    #[test]
    fn documents_of_another_kind_differ_as_a_whole() {
        assert_eq!(lines("", "{}"), [": nothing -> {}"]);
        assert_eq!(lines("1", ""), [": 1 -> nothing"]);
        assert_eq!(lines("[1]", r#"{"a": 1}"#), [": [1] -> {\"a\":1}"]);
        assert_eq!(lines("1", "1.0"), [": 1 -> 1.0"]);
        let nan = r#"{"$float": "nan"}"#;
        assert_eq!(lines(nan, nan), Vec::<String>::new());
    }
}

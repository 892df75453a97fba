//! Where two documents differ first, in words.

use std::{fmt, fmt::Write};

use rmpv::Value;

/// Longest text of a value that is shown, in characters.
const SHOWN_MAX: usize = 80;

/// The first place at which two documents differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// As Lua would write it: `bag[3].price`. Empty: the document itself.
    pub path: String,
    /// What was there; `None`: nothing.
    pub before: Option<String>,
    /// What is there; `None`: nothing.
    pub after: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() {
            "the document"
        } else {
            &self.path
        };
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => {
                write!(f, "{path} was {before} and came back as {after}")
            }
            (Some(before), None) => write!(f, "{path} was {before} and is gone"),
            (None, after) => {
                write!(
                    f,
                    "{path} was not there and is {}",
                    after.as_deref().unwrap_or("nothing")
                )
            }
        }
    }
}

impl Difference {
    /// Between two documents, in their canonical form; `None`: there is none.
    pub(crate) fn between(before: &[u8], after: &[u8]) -> Option<Difference> {
        if before == after {
            return None;
        }
        let read = |mut bytes: &[u8]| rmpv::decode::read_value(&mut bytes).unwrap_or(Value::Nil);
        let (before, after) = (read(before), read(after));
        let mut path = String::new();
        Some(first(&mut path, &before, &after).unwrap_or(Difference {
            path,
            before: Some(shown(&before)),
            after: Some(shown(&after)),
        }))
    }
}

/// The first difference within two values at `path`, which is left as it was unless there is one.
fn first(path: &mut String, before: &Value, after: &Value) -> Option<Difference> {
    let len = path.len();
    match (before, after) {
        (Value::Map(a), Value::Map(b)) => {
            let value_of = |map: &'_ [(Value, Value)], key: &Value| {
                map.iter()
                    .find(|(k, _)| k == key)
                    .map(|(_, value)| value.clone())
            };
            let added = b.iter().filter(|(key, _)| value_of(a, key).is_none());
            for (key, _) in a.iter().chain(added) {
                push_key(path, key);
                let found = differ(path, value_of(a, key).as_ref(), value_of(b, key).as_ref());
                if found.is_some() {
                    return found;
                }
                path.truncate(len);
            }
            None
        }
        (Value::Array(a), Value::Array(b)) => {
            for i in 0..a.len().max(b.len()) {
                _ = write!(path, "[{}]", i + 1);
                let found = differ(path, a.get(i), b.get(i));
                if found.is_some() {
                    return found;
                }
                path.truncate(len);
            }
            None
        }
        _ => differ_whole(path, Some(before), Some(after)),
    }
}

fn differ(path: &mut String, before: Option<&Value>, after: Option<&Value>) -> Option<Difference> {
    match (before, after) {
        (Some(before), Some(after)) => first(path, before, after),
        _ => differ_whole(path, before, after),
    }
}

fn differ_whole(path: &str, before: Option<&Value>, after: Option<&Value>) -> Option<Difference> {
    let same = match (before, after) {
        // NaN is as good as NaN, and -0.0 is not 0.0.
        (Some(Value::F64(a)), Some(Value::F64(b))) => a.to_bits() == b.to_bits(),
        _ => before == after,
    };
    (!same).then(|| Difference {
        path: path.to_owned(),
        before: before.map(shown),
        after: after.map(shown),
    })
}

fn push_key(path: &mut String, key: &Value) {
    match key.as_str() {
        Some(name) if is_identifier(name) => {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(name);
        }
        _ => _ = write!(path, "[{}]", shown(key)),
    }
}

fn is_identifier(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
}

/// A value as Lua would write it, cut to a length for people.
fn shown(value: &Value) -> String {
    let mut text = match value {
        Value::F32(float) => format!("{float:?}"),
        Value::F64(float) => format!("{float:?}"),
        Value::Nil => "null".to_owned(),
        Value::Binary(data) => format!("{} bytes {data:02x?}", data.len()),
        Value::Map(entries) if entries.is_empty() => "an empty map".to_owned(),
        Value::Array(elements) if elements.is_empty() => "an empty array".to_owned(),
        other => other.to_string(),
    };
    if let Some((end, _)) = text.char_indices().nth(SHOWN_MAX) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

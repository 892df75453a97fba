//! What a setting takes, and how it is read and shown.

use std::{net::SocketAddr, str::FromStr, time::Duration};

use bytesize::ByteSize;
use toml::{Table, Value};

/// What a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file or directory.
    Path,
    /// A TCP address.
    Address,
    /// Yes or no.
    Switch,
    /// A number of things.
    Count,
    /// A size: `1048576`, `1MiB`, `10MB`.
    Bytes,
    /// A time: `90` seconds, `90s`, `1h 30m`.
    Seconds,
    /// A time: `20` milliseconds, `20ms`, `1s`.
    Millis,
    /// The name of a key-value engine.
    Engine,
    /// Where backups are; empty for nowhere.
    Target,
    /// A cron expression, or nothing.
    Cron,
    /// A list of `[NAMESPACE/]COLLECTION[=RULE[+RULE]]`, a rule being `synced`, `applied` or `claims`.
    Collections,
}

impl Kind {
    /// How the help names the value.
    pub fn value_name(self) -> &'static str {
        match self {
            Kind::Path => "PATH",
            Kind::Address => "ADDRESS",
            Kind::Switch => "true|false",
            Kind::Count => "N",
            Kind::Bytes => "SIZE",
            Kind::Seconds | Kind::Millis => "TIME",
            Kind::Engine => "sled|memory",
            Kind::Target => "URL",
            Kind::Cron => "CRON",
            Kind::Collections => "[NAMESPACE/]COLLECTION[=RULE[+RULE]]",
        }
    }

    /// Its unit in the file, if it has one.
    pub fn unit(self) -> Option<&'static str> {
        match self {
            Kind::Bytes => Some("bytes"),
            Kind::Seconds => Some("seconds"),
            Kind::Millis => Some("milliseconds"),
            _ => None,
        }
    }

    /// A flag that needs no value.
    pub fn is_switch(self) -> bool {
        self == Kind::Switch
    }

    /// A flag that can be repeated.
    pub fn is_list(self) -> bool {
        self == Kind::Collections
    }

    /// Reads what was typed; of a list, one element.
    pub fn parse(self, text: &str) -> Result<Value, String> {
        match self {
            Kind::Path if text.is_empty() => Err("the path is empty".into()),
            Kind::Path => Ok(text.into()),
            Kind::Address => SocketAddr::from_str(text)
                .map(|address| address.to_string().into())
                .map_err(|_| "write an address and a port, e.g. 127.0.0.1:7766".into()),
            Kind::Switch => bool::from_str(text)
                .map(Value::from)
                .map_err(|_| "write true or false".into()),
            Kind::Count => integer(text.parse().map_err(|_| "write a whole number")?),
            Kind::Bytes => integer(parse_bytes(text)?),
            Kind::Seconds => integer(parse_time(text, 's')?.as_secs()),
            Kind::Millis => integer(
                parse_time(text, 'm')?
                    .as_millis()
                    .try_into()
                    .unwrap_or(u64::MAX),
            ),
            Kind::Engine => match text {
                "sled" | "memory" => Ok(text.into()),
                _ => Err("write sled or memory".into()),
            },
            // Whether they mean anything is checked with the other settings.
            Kind::Target | Kind::Cron => Ok(text.into()),
            Kind::Collections => parse_collection(text),
        }
    }

    /// Reads what stands in a file: as [`Self::parse`] if it is a string, or the TOML type itself.
    pub fn accept(self, value: Value) -> Result<Value, String> {
        let text = match (self, value) {
            (Kind::Collections, value @ Value::Array(_)) => return Ok(value),
            (Kind::Switch, value @ Value::Boolean(_)) => return Ok(value),
            (Kind::Count | Kind::Bytes | Kind::Seconds | Kind::Millis, Value::Integer(number))
                if number >= 0 =>
            {
                return Ok(number.into());
            }
            (_, Value::String(text)) if self.takes_text() => text,
            (_, value) => return Err(format!("{value} is no {}", self.value_name())),
        };
        self.parse(&text)
            .map_err(|error| format!("{text:?}: {error}"))
    }

    /// Whether a file may have it as a string.
    fn takes_text(self) -> bool {
        !matches!(self, Kind::Switch | Kind::Count | Kind::Collections)
    }

    /// Shows a value to people; nothing for an empty list or text.
    pub fn show(self, value: &Value) -> Option<String> {
        let number = value.as_integer().and_then(|n| u64::try_from(n).ok());
        match (self, value, number) {
            (Kind::Bytes, _, Some(bytes)) => Some(size_text(bytes)),
            (Kind::Seconds, _, Some(n)) => Some(show_time(Duration::from_secs(n))),
            (Kind::Millis, _, Some(n)) => Some(show_time(Duration::from_millis(n))),
            (_, Value::String(text), _) if text.is_empty() => None,
            (_, Value::String(text), _) => Some(text.clone()),
            (_, Value::Array(items), _) if items.is_empty() => None,
            (_, value, _) => Some(value.to_string()),
        }
    }
}

/// TOML has signed integers only.
fn integer(number: u64) -> Result<Value, String> {
    i64::try_from(number)
        .map(Value::from)
        .map_err(|_| format!("{number} is too large"))
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    ByteSize::from_str(text)
        .map(|size| size.as_u64())
        .map_err(|_| "write a size, e.g. 1048576, 1MiB or 10MB".into())
}

/// A bare number counts seconds (`s`) or milliseconds (`m`).
fn parse_time(text: &str, bare: char) -> Result<Duration, String> {
    match (text.parse(), bare) {
        (Ok(number), 's') => return Ok(Duration::from_secs(number)),
        (Ok(number), _) => return Ok(Duration::from_millis(number)),
        (Err(_), _) => {}
    }
    humantime::parse_duration(text).map_err(|_| "write a time, e.g. 90s, 20ms or 1h30m".into())
}

/// A size for people: `8 MiB`.
pub fn size_text(bytes: u64) -> String {
    let text = ByteSize::b(bytes).display().iec().to_string();
    text.replace(".0 ", " ")
}

fn show_time(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

/// Reads `[NAMESPACE/]COLLECTION[=RULE[+RULE]]`.
fn parse_collection(text: &str) -> Result<Value, String> {
    let (name, rules) = match text.split_once('=') {
        Some((name, rules)) => (name, rules.split('+').collect()),
        None => (text, Vec::new()),
    };
    let (namespace, collection) = name.split_once('/').unwrap_or(("*", name));
    for (what, name) in [("namespace", namespace), ("collection", collection)] {
        if name != "*" {
            stillpoint_proto::name::check_name(what, name)?;
        }
    }
    let (mut durability, mut claims) = (None, None);
    for rule in rules {
        let before = match rule {
            "synced" | "applied" => durability.replace(rule),
            "claims" => claims.replace("required"),
            _ => {
                return Err(
                    "write synced, applied or claims after the =, two with a + between".into(),
                );
            }
        };
        if let Some(before) = before {
            return Err(format!(
                "{rule} cannot stand beside {before}: write one of them"
            ));
        }
    }
    let mut entry = Table::new();
    entry.insert("namespace".into(), namespace.into());
    entry.insert("collection".into(), collection.into());
    entry.insert("durability".into(), durability.unwrap_or("synced").into());
    entry.insert("claims".into(), claims.unwrap_or("optional").into());
    Ok(Value::Table(entry))
}

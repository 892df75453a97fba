//! One commit of a history, as people and programs see it.

use rmpv::Value;
use stillpoint_proto::v1::{CommitOrigin, HistoryChange, Record};

use super::diff::{self, Changed};
use crate::{
    json,
    management::words::moment,
    record::{meta, object},
};

/// Characters of a value that are shown to people.
const VALUE_CHARS: usize = 160;

/// A commit and what it changed.
pub struct Entry<'a> {
    change: &'a HistoryChange,
    /// The value that it wrote; none: it deleted the record.
    after: Option<Value>,
    /// What it changed; none: it is not known what was before.
    changed: Option<Vec<Changed>>,
    expires: Option<(u64, u64)>,
    schema: Option<(u32, u32)>,
}

impl<'a> Entry<'a> {
    /// A commit, and the one that wrote the record before, if it is known.
    pub fn new(
        change: &'a HistoryChange,
        before: Option<&HistoryChange>,
    ) -> Result<Entry<'a>, String> {
        let value = |record: Option<&Record>| {
            record
                .map(|record| json::from_msgpack(&record.value))
                .transpose()
        };
        let after = value(change.record.as_ref())?;
        let is_first = (change.record.as_ref()).is_some_and(|record| record.version == 1);
        let changed = match before {
            Some(before) => Some(diff::changes(
                value(before.record.as_ref())?.as_ref(),
                after.as_ref(),
            )),
            // A record's first version has nothing before it.
            None => is_first.then(|| diff::changes(None, after.as_ref())),
        };
        let expires_ms = |change: &HistoryChange| {
            (change.record.as_ref()).map_or(0, |record| record.expires_at_ms)
        };
        let expires = (before.map_or(0, expires_ms), expires_ms(change));
        let schema = |change: &HistoryChange| change.record.as_ref().map(|record| record.schema);
        let schemas = before.and_then(schema).zip(schema(change));
        Ok(Entry {
            change,
            after,
            changed,
            expires: (change.record.is_some() && expires.0 != expires.1).then_some(expires),
            schema: schemas.filter(|(before, after)| before != after),
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let change = self.change;
        let together = match change.records_written {
            0 | 1 => String::new(),
            2 => ", with 1 other record".into(),
            records => format!(", with {} other records", records - 1),
        };
        let mut text = format!(
            "revision {}  {}  {}  {}{together}\n",
            change.revision,
            moment(change.time_ms),
            self.who(),
            self.what()
        );
        match &self.changed {
            Some(changed) => text.extend(changed.iter().map(line)),
            None => {
                if let Some(value) = &self.after {
                    text += &format!("  = {}\n", short(value));
                }
            }
        }
        if let Some((before, after)) = self.schema {
            text += &format!("  schema: {before} -> {after}\n");
        }
        if let Some((before, after)) = self.expires {
            text += &format!("  expires: {} -> {}\n", expiry(before), expiry(after));
        }
        text
    }

    /// For programs.
    pub fn to_value(&self) -> Value {
        let change = self.change;
        let changed = self.changed.as_ref().map(|changed| {
            let each = changed.iter().map(Changed::to_value);
            Value::Array(each.collect())
        });
        let mut fields = vec![
            ("revision", change.revision.into()),
            ("seq", change.seq.into()),
            ("time_ms", change.time_ms.into()),
            ("what", self.what().into()),
            ("session_id", change.session_id.as_str().into()),
            ("service", change.service.as_str().into()),
            ("instance", change.instance.as_str().into()),
            ("actor", change.actor.as_str().into()),
            ("records_written", change.records_written.into()),
            ("value", self.after.clone().unwrap_or(Value::Nil)),
            ("changes", changed.unwrap_or(Value::Nil)),
        ];
        if let Some(record) = &change.record {
            fields.extend(meta(record));
        }
        object(fields)
    }

    fn who(&self) -> String {
        let change = self.change;
        if !change.actor.is_empty() {
            return format!("{}, an operator", change.actor);
        }
        match (change.service.as_str(), change.session_id.as_str()) {
            ("", "") => "no session".into(),
            ("", session) => format!("session {session}"),
            (service, _) => format!("{service}/{}", change.instance),
        }
    }

    fn what(&self) -> &'static str {
        let origin = self.change.origin();
        match &self.change.record {
            None if origin == CommitOrigin::Expiry => "expired",
            None => "deleted",
            Some(_) if origin == CommitOrigin::Migration => "migrated",
            Some(record) if record.version == 1 => "created",
            Some(_) => "written",
        }
    }
}

/// A place that differs, for people: a line.
pub fn line(changed: &Changed) -> String {
    let path = match changed.path.as_str() {
        "" => String::new(),
        path => format!("{path}: "),
    };
    match (&changed.before, &changed.after) {
        (Some(before), Some(after)) => {
            format!("  ~ {path}{} -> {}\n", short(before), short(after))
        }
        (Some(before), None) => format!("  - {path}{}\n", short(before)),
        (None, after) => {
            let after = after.as_ref().map(short).unwrap_or_default();
            format!("  + {path}{after}\n")
        }
    }
}

fn short(value: &Value) -> String {
    let text = json::to_string(value, false);
    match text.char_indices().nth(VALUE_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// When a record expires, for people.
pub fn expiry(ms: u64) -> String {
    match ms {
        0 => "never".into(),
        ms => moment(ms),
    }
}

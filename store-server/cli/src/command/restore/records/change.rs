//! A record that is brought back, and what came of all of them, as people and programs see it.

use rmpv::Value;
use stillpoint_proto::v1::{Claim, Record, RestoreChange, RestoreRecordsEnd};

use crate::{
    address::Address,
    command::history::{
        diff::{self, Changed},
        entry::{expiry, line},
    },
    json,
    record::{object, record_value},
};

/// A record that differs, and how.
pub struct Change {
    change: RestoreChange,
    name: String,
    differs: Vec<Changed>,
}

impl Change {
    /// What was told.
    pub fn new(change: RestoreChange) -> Result<Change, String> {
        let value = |record: Option<&Record>| {
            record
                .filter(|_| unreadable(&change).is_none())
                .map(|record| json::from_msgpack(&record.value))
                .transpose()
        };
        let (now, then) = (value(change.now.as_ref())?, value(change.then.as_ref())?);
        let key = change.key.as_ref().ok_or("a change names no record")?;
        Ok(Change {
            name: Address::from(key).to_string(),
            differs: diff::changes(now.as_ref(), then.as_ref()),
            change,
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let change = &self.change;
        if let Some(why) = unreadable(change) {
            return format!("{}  stays as it is: {why}\n", self.name);
        }
        let what = match (&change.now, &change.then) {
            (_, None) if change.has_expired => "deleted: its time is up",
            (_, None) => "deleted: it was not there",
            (None, _) => "made again",
            _ => "changed",
        };
        let owner = change.owner.as_ref().map_or_else(String::new, |owner| {
            format!(", taken from {}", owner_text(owner))
        });
        let mut text = format!("{}  {what}{owner}\n", self.name);
        text.extend(self.differs.iter().map(line));
        if let (Some(now), Some(then)) = (&change.now, &change.then) {
            if now.schema != then.schema {
                text += &format!("  schema: {} -> {}\n", now.schema, then.schema);
            }
            if now.expires_at_ms != then.expires_at_ms {
                let (now, then) = (expiry(now.expires_at_ms), expiry(then.expires_at_ms));
                text += &format!("  expires: {now} -> {then}\n");
            }
        }
        text
    }

    /// For programs.
    pub fn to_value(&self) -> Value {
        let change = &self.change;
        let record = |record: &Option<Record>| {
            let value = record.as_ref().map(record_value);
            value.and_then(Result::ok).unwrap_or(Value::Nil)
        };
        let differs = self.differs.iter().map(Changed::to_value);
        let owner = change.owner.as_ref();
        object([
            ("record", self.name.as_str().into()),
            ("now", record(&change.now)),
            ("then", record(&change.then)),
            ("changes", Value::Array(differs.collect())),
            ("has_expired", change.has_expired.into()),
            (
                "owner",
                owner.map_or(Value::Nil, |owner| owner_text(owner).into()),
            ),
            (
                "unreadable",
                unreadable(change).map_or(Value::Nil, Value::from),
            ),
        ])
    }
}

/// Why it cannot be brought back, if so.
fn unreadable(change: &RestoreChange) -> Option<&str> {
    let why = change.then.as_ref().map(|then| &*then.unreadable);
    why.filter(|why| !why.is_empty())
}

fn owner_text(owner: &Claim) -> String {
    format!("{}/{}", owner.service, owner.instance)
}

/// A number of records: `1 record`.
pub fn records(count: u64) -> String {
    match count {
        1 => "1 record".into(),
        count => format!("{count} records"),
    }
}

/// What came of it, for people.
pub fn end_text(end: &RestoreRecordsEnd, dry_run: bool) -> String {
    let mut text = match (end.changed, dry_run) {
        (0, _) if end.unreadable > 0 => {
            format!("nothing else differs from commit {}", end.seq)
        }
        (0, _) => format!("nothing differs from commit {}", end.seq),
        (changed, true) => format!(
            "would bring {} back to commit {}",
            records(changed),
            end.seq
        ),
        (changed, false) => format!("brought {} back to commit {}", records(changed), end.seq),
    };
    let owners = match end.owned {
        1 => "its owner",
        _ => "their owners",
    };
    if end.owned > 0 {
        text += &match dry_run {
            true => format!("; {} would lose {owners}", records(end.owned)),
            false => format!("; {} lost {owners}", records(end.owned)),
        };
    }
    if end.commits > 1 {
        text += &format!("; in {} commits, not all at once", end.commits);
    }
    if end.expired > 0 {
        text += &format!("; the time of {} is up since", records(end.expired));
    }
    text + "\n"
}

/// The same for programs.
pub fn end_value(end: &RestoreRecordsEnd, dry_run: bool) -> Value {
    object([
        ("dry_run", dry_run.into()),
        ("seq", end.seq.into()),
        ("compared", end.compared.into()),
        ("changed", end.changed.into()),
        ("owned", end.owned.into()),
        ("expired", end.expired.into()),
        ("unreadable", end.unreadable.into()),
        ("commits", end.commits.into()),
        ("revision", end.revision.into()),
    ])
}

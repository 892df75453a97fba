//! What was found, as people and programs see it.

use std::time::Duration;

use indicatif::ProgressBar;
use rmpv::Value;
use stillpoint_proto::v1::{
    DryRunDifference, DryRunFailures, DryRunProgress, DryRunSummary, QuarantinedRecord, RecordKey,
};

use crate::{
    address::Address,
    command::history::{
        diff::{self, Changed},
        entry::line,
    },
    failure::Failure,
    json,
    migrate::words::records,
    output::{print_json, print_text},
    progress,
    record::object,
    settings::kind::size_text,
};

/// Prints what is found, collection by collection.
pub struct Report {
    json: bool,
    bar: ProgressBar,
    /// The collection that is tried.
    name: String,
    /// For programs: what its records would become.
    differences: Vec<Value>,
    /// Records that failed, with what is wrong.
    examples: Vec<QuarantinedRecord>,
    /// Records of all collections that cannot be migrated.
    pub failed: u64,
}

impl Report {
    /// Nothing was found yet.
    pub fn new(json: bool) -> Report {
        Report {
            json,
            bar: ProgressBar::hidden(),
            name: String::new(),
            differences: Vec::new(),
            examples: Vec::new(),
            failed: 0,
        }
    }

    /// Says something to people.
    pub fn note(&self, text: &str) {
        if !self.json {
            eprintln!("note: {text}");
        }
    }

    /// Goes on with this collection.
    pub fn begin(&mut self, name: &str) {
        self.name = name.to_owned();
        self.differences.clear();
        self.examples.clear();
        self.bar = progress::work(&format!("trying {name}"));
    }

    /// How far it is.
    pub fn progress(&self, told: &DryRunProgress) {
        progress::with_end(&self.bar, told.records_total > 0);
        self.bar.set_length(told.records_total.max(told.records));
        self.bar.set_position(told.records);
        self.bar.set_message(match told.records_total {
            0 => records(told.records),
            total => format!(
                "{} of about {}",
                told.records,
                records(total.max(told.records))
            ),
        });
    }

    /// What a record would become.
    pub fn difference(&mut self, difference: DryRunDifference) -> Result<(), Failure> {
        let value = |bytes: &[u8]| json::from_msgpack(bytes).map_err(Failure::operation);
        let (before, after) = (value(&difference.before)?, value(&difference.after)?);
        let changes = diff::changes(Some(&before), Some(&after));
        let record = record_name(&difference.namespace, difference.key.as_ref());
        if self.json {
            let changes = changes.iter().map(Changed::to_value).collect();
            self.differences.push(object([
                ("record", record.into()),
                ("from_version", difference.from_version.into()),
                ("changes", Value::Array(changes)),
            ]));
            return Ok(());
        }
        let mut text = format!("{record}  of version {}\n", difference.from_version);
        text.extend(changes.iter().map(line));
        if changes.is_empty() {
            text += "  only its version changes\n";
        }
        Ok(self.bar.suspend(|| print_text(&text))?)
    }

    /// A record that cannot be migrated.
    pub fn failure(&mut self, failure: QuarantinedRecord) -> Result<(), Failure> {
        if !self.json {
            let record = record_name(&failure.namespace, failure.key.as_ref());
            let text = format!(
                "{record}  of version {} cannot be migrated\n  ! {}\n",
                failure.schema, failure.error
            );
            self.bar.suspend(|| print_text(&text))?;
        }
        self.examples.push(failure);
        Ok(())
    }

    /// The end of a collection.
    pub fn end(&mut self, summary: &DryRunSummary) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        self.failed += summary.failed;
        match self.json {
            true => print_json(&self.to_value(summary), false)?,
            false => print_text(&self.text(summary))?,
        }
        Ok(())
    }

    fn text(&self, summary: &DryRunSummary) -> String {
        let mut text = format!(
            "{}: {} tried for version {}: {} would change, {} cannot be migrated\n",
            self.name,
            records(summary.records),
            summary.to_version,
            summary.changed,
            summary.failed
        );
        if summary.changed > 0 {
            text += &format!(
                "  size: {} -> {} ({}), the largest {}\n",
                size_text(summary.bytes_before),
                size_text(summary.bytes_after),
                growth(summary.bytes_before, summary.bytes_after),
                size_text(summary.largest_after)
            );
        }
        if summary.micros > 0 {
            let rate = summary.records as f64 * 1e6 / summary.micros as f64;
            text += &format!(
                "  time: the scripts take {}, at most {rate:.0} records/s\n",
                humantime::format_duration(rounded(summary.micros))
            );
        }
        for kind in &summary.failures {
            let example = self.example(kind).map_or_else(String::new, |record| {
                format!(
                    " (e.g. {})",
                    record_name(&record.namespace, record.key.as_ref())
                )
            });
            text += &format!("  {}: {}{example}\n", records(kind.records), kind.error);
        }
        text
    }

    fn to_value(&self, summary: &DryRunSummary) -> Value {
        let failures = summary.failures.iter().map(|kind| {
            let example = self.example(kind);
            let example = example.map(|record| record_name(&record.namespace, record.key.as_ref()));
            object([
                ("error", kind.error.as_str().into()),
                ("records", kind.records.into()),
                ("example", example.map_or(Value::Nil, Value::from)),
            ])
        });
        object([
            ("collection", self.name.as_str().into()),
            ("to_version", summary.to_version.into()),
            ("records", summary.records.into()),
            ("changed", summary.changed.into()),
            ("failed", summary.failed.into()),
            ("bytes_before", summary.bytes_before.into()),
            ("bytes_after", summary.bytes_after.into()),
            ("largest_after", summary.largest_after.into()),
            ("micros", summary.micros.into()),
            ("failures", Value::Array(failures.collect())),
            ("differences", Value::Array(self.differences.clone())),
        ])
    }

    /// A record that failed so; the kind's text may have been cut.
    fn example(&self, kind: &DryRunFailures) -> Option<&QuarantinedRecord> {
        let mut examples = self.examples.iter();
        examples.find(|record| record.error.starts_with(&kind.error))
    }
}

/// A record with its namespace: `game/player/42`.
fn record_name(namespace: &str, key: Option<&RecordKey>) -> String {
    let address = key.map(|key| Address::from(key).to_string());
    format!("{namespace}/{}", address.unwrap_or_default())
}

/// How much larger something is, in percent.
fn growth(before: u64, after: u64) -> String {
    format!(
        "{:+.1} %",
        (after as f64 / before.max(1) as f64 - 1.0) * 100.0
    )
}

/// A time for people: milliseconds are enough.
fn rounded(micros: u64) -> Duration {
    Duration::from_millis(micros.div_ceil(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_tells_what_is_wrong_with_how_many_and_an_example() {
        let mut report = Report::new(false);
        report.begin("game/player");
        report.examples.push(QuarantinedRecord {
            namespace: "game".into(),
            key: Some(RecordKey {
                collection: "player".into(),
                key: "p9".into(),
            }),
            error: "0002_b.lua: up failed: no name, and so on".into(),
            ..QuarantinedRecord::default()
        });
        let summary = DryRunSummary {
            to_version: 2,
            records: 1000,
            changed: 990,
            failed: 10,
            bytes_before: 1000,
            bytes_after: 1100,
            largest_after: 20,
            micros: 500_000,
            failures: vec![DryRunFailures {
                error: "0002_b.lua: up failed: no name".into(),
                records: 10,
            }],
        };
        assert_eq!(
            report.text(&summary),
            "game/player: 1000 records tried for version 2: 990 would change, 10 cannot be migrated\n  \
             size: 1000 B -> 1.1 KiB (+10.0 %), the largest 20 B\n  \
             time: the scripts take 500ms, at most 2000 records/s\n  \
             10 records: 0002_b.lua: up failed: no name (e.g. game/player/p9)\n"
        );
    }
}

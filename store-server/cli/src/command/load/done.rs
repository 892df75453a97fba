//! What became of the records of a load.

use std::io;

use rmpv::Value;
use stillpoint_proto::v1::StoreError;

use crate::{
    failure::Failure,
    migrate::words::records,
    output::{self, harmless},
    record::object,
};

/// Refused records that are told with the reason.
const WHY_MAX: usize = 10;

/// What became of the records.
#[derive(Debug, Default)]
pub struct Done {
    /// Written.
    pub written: u64,
    /// There already, with the same value.
    pub unchanged: u64,
    /// Left as the store has them.
    pub skipped: u64,
    /// Expired since the dump.
    pub expired: u64,
    /// Left as the store has them, in a version from which nothing leads back to the dump's: whether they are the same is not
    /// known.
    pub not_compared: u64,
    /// Those that no script could bring to the store's version.
    refused: u64,
    /// What is wrong with the first of those.
    why_refused: Vec<String>,
}

impl Done {
    /// Prints it.
    pub fn print(&self, json: bool) -> io::Result<()> {
        if !json {
            let mut text = format!(
                "{} records written, {} there already, {} skipped, {} expired",
                self.written, self.unchanged, self.skipped, self.expired
            );
            if self.not_compared > 0 {
                text += &format!(
                    ", {} there in a later version that cannot be compared",
                    self.not_compared
                );
            }
            if self.refused > 0 {
                text += &format!(", {} refused", self.refused);
            }
            for why in &self.why_refused {
                text += &format!("\n  {why}");
            }
            eprintln!("{}", harmless(&text));
            return Ok(());
        }
        let why = self.why_refused.iter().map(|why| why.as_str().into());
        let summary = object([
            ("written", self.written.into()),
            ("unchanged", self.unchanged.into()),
            ("skipped", self.skipped.into()),
            ("expired", self.expired.into()),
            ("not_compared", self.not_compared.into()),
            ("refused", self.refused.into()),
            ("why_refused", Value::Array(why.collect())),
        ]);
        output::print_json(&summary, false)
    }

    /// Notes a record that cannot be migrated.
    pub fn refuse(&mut self, place: &str, error: &StoreError) {
        self.refused += 1;
        if self.why_refused.len() < WHY_MAX {
            self.why_refused.push(format!("{place}: {}", error.message));
        }
    }

    /// Fails if records were refused, and, if `no_conflicts`, if some may be in conflict with the store's.
    pub fn conclude(&self, no_conflicts: bool) -> Result<(), Failure> {
        match self.refused {
            0 if no_conflicts && self.not_compared > 0 => Err(Failure::operation(format_args!(
                "{} in a later version, and may have another value than the dump's",
                match self.not_compared {
                    1 => "1 record is there".into(),
                    count => format!("{count} records are there"),
                }
            ))
            .hint("--on-conflict skip keeps the store's records, overwrite replaces those that can be")),
            0 => Ok(()),
            refused => Err(Failure::of_records(format_args!(
                "{} could not be migrated, and {} not loaded",
                records(refused),
                if refused == 1 { "was" } else { "were" }
            ))
            .hint("mend those lines in a copy of the dump and load it again: what is there already is passed over")),
        }
    }
}

//! What a migration would make of records: counts, sizes, time, the first differences and failures. Nothing is changed.
//!
//! The records come from anywhere: from a store that is running, or from a backup that was restored somewhere. A [`Trial`] has
//! the scripts of one collection of one namespace, [`Findings`] are those of any number of trials.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use bytes::Bytes;
use stillpoint_migrations::{Chain, Limits, Rehearsal, Source, StepError};

/// Kinds of failures that are told apart; further ones are counted together.
const KINDS_MAX: usize = 100;

/// What failures are counted under that are of too many kinds.
const OTHERS: &str = "other errors";

/// Longest text of a kind of failures, in bytes.
const KIND_BYTES_MAX: usize = 300;

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its key in its collection.
    pub key: Bytes,
    /// The version of its schema.
    pub schema: u32,
    /// Its value.
    pub value: Bytes,
}

/// The scripts of a collection, to be tried.
pub struct Trial {
    /// Does it once, by the clock.
    chain: Chain,
    /// Does it again and again, to see what is wrong with the scripts.
    rehearsal: Rehearsal,
    to: u32,
}

/// What is told of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It would change; one of the first that do.
    Difference {
        /// As it is.
        before: Stored,
        /// The value that it would have.
        after: Bytes,
    },
    /// It cannot be migrated; one of the first that cannot.
    Failure {
        /// As it is.
        record: Stored,
        /// The script and what is wrong.
        error: String,
    },
    /// Another record was tried.
    Tried,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Records that were tried.
    pub records: u64,
    /// Those that would change.
    pub changed: u64,
    /// Those that cannot be migrated.
    pub failed: u64,
    /// Bytes of the values that would change, as they are.
    pub bytes_before: u64,
    /// The same, as they would be.
    pub bytes_after: u64,
    /// Bytes of the largest value that a record would have.
    pub largest_after: u64,
    /// What the scripts took, once for each record.
    pub time: Duration,
    failures: BTreeMap<String, u64>,
    /// Differences and failures that are told, each.
    examples: u64,
}

impl Trial {
    /// A trial of the scripts that serve a collection, up to a version; `None`: the newest that they make.
    ///
    /// # Errors
    ///
    /// The first script that cannot be loaded or does not fit.
    pub fn new(
        namespace: &str,
        collection: &str,
        sources: &[Source],
        to: Option<u32>,
        limits: &Limits,
    ) -> Result<Trial, StepError> {
        let chain = Chain::new(namespace, collection, sources, limits.clone())?;
        let rehearsal = Rehearsal::new(namespace, collection, sources, limits.clone())?;
        let to = to.unwrap_or_else(|| chain.last());
        Ok(Trial {
            chain,
            rehearsal,
            to,
        })
    }

    /// The version that is tried.
    pub fn to(&self) -> u32 {
        self.to
    }

    /// The value that a record would have, and how long the scripts took once.
    fn migrate(&mut self, record: &Stored) -> (Result<Bytes, StepError>, Duration) {
        let Stored { key, schema, value } = record;
        let begun = Instant::now();
        let result = match *schema <= self.to {
            true => self.chain.up(*schema, self.to, key, value),
            false => self.chain.down(*schema, self.to, key, value),
        };
        let took = begun.elapsed();
        let result = match result {
            Ok(_) if *schema < self.to => self.rehearsal.up(*schema, self.to, key, value),
            result => result,
        };
        (result, took)
    }
}

/// Tries all of the records, and tells of each, until `tell` breaks.
///
/// # Errors
///
/// The first that the records have.
pub fn dry_run<E>(
    trial: &mut Trial,
    records: impl IntoIterator<Item = Result<Stored, E>>,
    findings: &mut Findings,
    mut tell: impl FnMut(&Findings, Told) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, E> {
    for record in records {
        let told = findings.try_record(trial, record?);
        if tell(findings, told).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

impl Findings {
    /// None yet; of so many records at most it is told how they would change, and of so many that they fail.
    pub fn new(examples: u64) -> Findings {
        Findings {
            examples,
            ..Findings::default()
        }
    }

    fn try_record(&mut self, trial: &mut Trial, record: Stored) -> Told {
        let (result, took) = trial.migrate(&record);
        self.records += 1;
        self.time += took;
        match result {
            Ok(_) if record.schema == trial.to => Told::Tried,
            Ok(after) => {
                self.changed += 1;
                self.bytes_before += record.value.len() as u64;
                self.bytes_after += after.len() as u64;
                self.largest_after = self.largest_after.max(after.len() as u64);
                match self.changed <= self.examples {
                    true => Told::Difference {
                        before: record,
                        after,
                    },
                    false => Told::Tried,
                }
            }
            Err(error) => {
                self.failed += 1;
                let error = error.to_string();
                self.count(&error);
                match self.failed <= self.examples {
                    true => Told::Failure { record, error },
                    false => Told::Tried,
                }
            }
        }
    }

    fn count(&mut self, error: &str) {
        let mut end = error.len().min(KIND_BYTES_MAX);
        while !error.is_char_boundary(end) {
            end -= 1;
        }
        let kind = &error[..end];
        let is_known = self.failures.contains_key(kind);
        let kind = match is_known || self.failures.len() < KINDS_MAX {
            true => kind,
            false => OTHERS,
        };
        *self.failures.entry(kind.to_owned()).or_default() += 1;
    }

    /// What is wrong, and with how many records, the most frequent first.
    pub fn failures(&self) -> Vec<(&str, u64)> {
        let failures = self.failures.iter();
        let mut failures: Vec<_> = failures.map(|(error, n)| (&**error, *n)).collect();
        failures.sort_by_key(|(_, records)| Reverse(*records));
        failures
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Gives everybody a level, but for those without a name.
    const LEVEL: &str = r#"return { from = 0, to = 1,
        up = function(doc)
            if not doc.name then error("no name", 0) end
            doc.level = 1
        end,
        down = function(doc) doc.level = nil end }"#;

    /// A document that is a map of one byte strings.
    fn document(fields: &[(&str, &str)]) -> Bytes {
        let mut out = vec![0x80 | fields.len() as u8];
        for text in fields.iter().flat_map(|(name, value)| [name, value]) {
            out.push(0xa0 | text.len() as u8);
            out.extend_from_slice(text.as_bytes());
        }
        out.into()
    }

    fn record(key: &str, schema: u32, fields: &[(&str, &str)]) -> Result<Stored, Infallible> {
        Ok(Stored {
            key: Bytes::copy_from_slice(key.as_bytes()),
            schema,
            value: document(fields),
        })
    }

    fn trial(text: &str, to: Option<u32>) -> Trial {
        let sources = [Source::new("w", "player", 1, "level", text)];
        Trial::new("w", "player", &sources, to, &Limits::default()).unwrap()
    }

    #[test]
    fn what_changes_is_counted_and_the_first_are_told() {
        let records = [
            record("a", 0, &[("name", "Ann")]),
            record("b", 0, &[("name", "Bob")]),
            record("c", 1, &[("name", "Cyd")]),
            record("d", 0, &[]),
            record("e", 0, &[]),
        ];
        let mut findings = Findings::new(1);
        let mut told = Vec::new();
        let Ok(flow) = dry_run(&mut trial(LEVEL, None), records, &mut findings, |_, one| {
            told.push(one);
            ControlFlow::Continue(())
        });
        assert!(flow.is_continue());
        assert_eq!(
            (findings.records, findings.changed, findings.failed),
            (5, 2, 2)
        );
        let level = b"\xa5level\x01".len() as u64;
        assert_eq!(findings.bytes_after, findings.bytes_before + 2 * level);
        assert_eq!(findings.largest_after, findings.bytes_after / 2);
        let [(error, 2)] = findings.failures()[..] else {
            panic!("{:?}", findings.failures());
        };
        assert!(
            error.contains("w/player/0001_level.lua: up failed: no name"),
            "{error}"
        );
        assert!(matches!(&told[0], Told::Difference { before, .. } if before.key == "a"));
        assert_eq!((&told[1], &told[2]), (&Told::Tried, &Told::Tried));
        assert!(matches!(&told[3], Told::Failure { record, .. } if record.key == "d"));
        assert_eq!(told[4], Told::Tried);
    }

    #[test]
    fn a_script_that_keeps_something_is_found() {
        let text = r#"local n = 0
            return { from = 0, to = 1, up = function(doc) n = n + 1; doc.n = n end }"#;
        let mut findings = Findings::new(0);
        let records = [record("a", 0, &[])];
        let Ok(_) = dry_run(&mut trial(text, None), records, &mut findings, |_, _| {
            ControlFlow::Continue(())
        });
        assert_eq!(findings.failed, 1);
        assert!(findings.failures()[0].0.contains("another result"));
    }

    #[test]
    fn the_way_back_is_tried_too_and_who_breaks_hears_no_more() {
        let newer = |key| record(key, 1, &[("level", "9")]);
        let mut findings = Findings::new(9);
        let records = [newer("a"), newer("b")];
        let Ok(flow) = dry_run(
            &mut trial(LEVEL, Some(0)),
            records,
            &mut findings,
            |_, told| {
                let Told::Difference { after, .. } = told else {
                    panic!("{told:?}");
                };
                assert_eq!(after, document(&[]));
                ControlFlow::Break(())
            },
        );
        assert!(flow.is_break());
        assert_eq!((findings.records, findings.changed), (1, 1));
    }

    #[test]
    fn kinds_of_failures_are_bounded() {
        let mut findings = Findings::default();
        for n in 0..3 * KINDS_MAX {
            findings.count(&format!("error {n} {}", "é".repeat(KIND_BYTES_MAX)));
        }
        let failures = findings.failures();
        assert_eq!(failures.len(), KINDS_MAX + 1);
        assert_eq!(failures[0], (OTHERS, 2 * KINDS_MAX as u64));
    }
}

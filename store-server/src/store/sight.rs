//! A record as one operation sees it: as it is stored, and in the version of its schema that the operation means.
//!
//! It is brought to that version when somebody first looks at its fields, and only once, however many guards do.

use std::cell::OnceCell;

use stillpoint_proto::v1::{Predicate, Reason, RecordKey, StoreError, predicate::Test};

use super::{record::Record, schema::Lens};
use crate::value;

/// A record as one operation sees it.
#[derive(Debug)]
pub struct Sight<'a> {
    /// None: everything as it is stored.
    lens: Option<&'a Lens>,
    /// The version that the operation names; none: it means the caller's.
    named: Option<u32>,
    /// What it is called.
    name: &'a RecordKey,
    stored: Option<Record>,
    seen: OnceCell<Record>,
}

impl<'a> Sight<'a> {
    /// A record, if it is there, for an operation that names this version.
    pub fn new(
        lens: Option<&'a Lens>,
        named: Option<u32>,
        name: &'a RecordKey,
        stored: Option<Record>,
    ) -> Sight<'a> {
        Sight {
            lens,
            named,
            name,
            stored,
            seen: OnceCell::new(),
        }
    }

    /// The record in the version that the operation means.
    pub fn seen(&self) -> Result<Option<&Record>, StoreError> {
        let (Some(lens), Some(stored)) = (self.lens, &self.stored) else {
            return Ok(self.stored.as_ref());
        };
        if let Some(seen) = self.seen.get() {
            return Ok(Some(seen));
        }
        let mut seen = stored.clone();
        lens.see_stored(self.named, self.name, &mut seen)?;
        Ok(Some(self.seen.get_or_init(|| seen)))
    }

    /// The same for whoever keeps it.
    pub fn into_seen(mut self) -> Result<Option<Record>, StoreError> {
        self.seen()?;
        Ok(self.seen.take().or(self.stored))
    }

    /// Refuses a write by which something would be lost that only a newer version of the record has.
    pub fn check_kept(&self) -> Result<(), StoreError> {
        let (Some(lens), Some(stored)) = (self.lens, &self.stored) else {
            return Ok(());
        };
        let below = self.seen.get().map(|seen| &seen.value);
        lens.check_kept(self.named, self.name, stored, below)
    }

    /// Checks that all guards hold.
    pub fn require(&self, guards: &[Predicate]) -> Result<(), StoreError> {
        for guard in guards {
            if let Some(failure) = self.failure(guard)? {
                return Err(self.conflict(failure));
            }
        }
        Ok(())
    }

    /// Why a predicate does not hold; `None` if it does.
    pub fn failure(&self, predicate: &Predicate) -> Result<Option<String>, StoreError> {
        self.test(predicate).map_err(|mut error| {
            error.key.get_or_insert_with(|| self.name.clone());
            error
        })
    }

    fn test(&self, predicate: &Predicate) -> Result<Option<String>, StoreError> {
        let stored = self.stored.as_ref();
        let (mod_rev, version) = stored.map_or((0, 0), |r| (r.mod_rev, r.version));
        let (holds, failure) = match &predicate.test {
            Some(Test::Exists(exists)) => (
                stored.is_some() == *exists,
                if *exists {
                    "the record does not exist"
                } else {
                    "the record exists"
                }
                .into(),
            ),
            Some(Test::ModRev(expected)) => (
                mod_rev == *expected,
                format!("the record is at revision {mod_rev}, not {expected}"),
            ),
            Some(Test::Version(expected)) => (
                version == *expected,
                format!("the record is at version {version}, not {expected}"),
            ),
            Some(Test::Field(field)) => {
                let document = self.seen()?.map(|r| &r.value[..]);
                (
                    value::holds(document, field)?,
                    "a field guard does not hold".into(),
                )
            }
            None => (false, "a guard is empty".into()),
        };
        Ok((!holds).then_some(failure))
    }

    /// The error of a guard that fails. It carries the record as it is seen; where there is no way to the version that the
    /// operation names, in the caller's; where there is none to that either, that is the error.
    pub fn conflict(&self, failure: String) -> StoreError {
        let current = self.seen().map(|seen| seen.cloned()).or_else(|_| {
            let stored = self.stored.clone();
            Sight::new(self.lens, None, self.name, stored).into_seen()
        });
        let current = match current {
            Ok(current) => current,
            Err(error) => return error,
        };
        let name = format!("{}/{}", self.name.collection, self.name.key.escape_ascii());
        let mut error = StoreError::new(Reason::VersionConflict, format!("{name}: {failure}"));
        error.key = Some(self.name.clone());
        error.current = current.map(|record| record.to_proto());
        error
    }
}

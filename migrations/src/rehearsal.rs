//! Tries a chain on a document, to find out more about it than whether it gives a result.

use bytes::Bytes;

use crate::{Chain, Difference, Fault, Limits, Part, Source, StepError};

/// Takes documents up, as [`Chain::up`] does, and finds at each step whether the result is always the same, whether `check`
/// only looks, and whether `down` undoes it.
///
/// It runs everything three times, in two Lua states that differ in what chance is left in Lua (seeds, addresses) and in
/// what they have run before. It changes nothing, so it is what a dry run uses.
pub struct Rehearsal {
    first: Chain,
    second: Chain,
}

impl Rehearsal {
    /// A rehearsal of a collection's chain.
    ///
    /// # Errors
    ///
    /// As for [`Chain::new`].
    pub fn new(
        namespace: &str,
        collection: &str,
        sources: &[Source],
        limits: Limits,
    ) -> Result<Rehearsal, StepError> {
        Ok(Rehearsal {
            first: Chain::new(namespace, collection, sources, limits.clone())?,
            second: Chain::new(namespace, collection, sources, limits)?,
        })
    }

    /// The chain that is tried.
    pub fn chain(&self) -> &Chain {
        &self.first
    }

    /// Takes a document up.
    ///
    /// # Errors
    ///
    /// As for [`Chain::up`], and besides [`Fault::Nondeterministic`], [`Fault::CheckChanges`] and [`Fault::RoundTrip`].
    pub fn up(&mut self, from: u32, to: u32, key: &[u8], value: &[u8]) -> Result<Bytes, StepError> {
        // Says so if there is no such way.
        self.first.up(from, to, key, value)?;
        let mut value = Bytes::copy_from_slice(value);
        for version in from..to {
            value = self.step(version, key, &value)?;
        }
        Ok(value)
    }

    /// One step, from this version.
    fn step(&mut self, from: u32, key: &[u8], value: &[u8]) -> Result<Bytes, StepError> {
        let to = from + 1;
        let place = (from - self.first.first()) as usize;
        let step = &self.first.steps()[place];
        let (path, has_down, lossy) = (step.source().path(), step.has_down(), step.is_lossy());

        let result = self.first.up(from, to, key, value)?;
        let again = [
            self.first.up(from, to, key, value),
            self.second.up(from, to, key, value),
        ];
        if again.iter().any(|other| other.as_ref() != Ok(&result)) {
            return Err(Fault::Nondeterministic.at(path, Part::Up));
        }
        if self.first.up_unchecked(place, key, value)? != result {
            return Err(Fault::CheckChanges.at(path, Part::Check));
        }
        if !has_down {
            return Ok(result);
        }

        let back = self.first.down(to, from, key, &result)?;
        let again = [
            self.first.down(to, from, key, &result),
            self.second.down(to, from, key, &result),
        ];
        if again.iter().any(|other| other.as_ref() != Ok(&back)) {
            return Err(Fault::Nondeterministic.at(path, Part::Down));
        }
        let original = self.first.rewritten(key, value)?;
        match Difference::between(&original, &back) {
            Some(difference) if !lossy => Err(Fault::RoundTrip(difference).at(path, Part::Down)),
            _ => Ok(result),
        }
    }
}

//! One script of a chain.

use bytes::Bytes;

use crate::{
    Fault, Part, Source, StepError,
    sandbox::{Function, Sandbox, Script},
};

/// One script of a chain.
#[derive(Clone, Debug)]
pub struct Step {
    pub(crate) source: Source,
    pub(crate) script: Script,
}

/// A script as it was when it was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its number.
    pub number: u32,
    /// The hash of its text.
    pub hash: blake3::Hash,
}

impl Step {
    /// Its text, and what it is called.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The version that it takes.
    pub fn from(&self) -> u32 {
        self.script.from
    }

    /// The version that it makes.
    pub fn to(&self) -> u32 {
        self.script.to
    }

    /// Whether there is a way back.
    pub fn has_down(&self) -> bool {
        self.script.has_down
    }

    /// Whether `down(up(x))` need not be `x`.
    pub fn is_lossy(&self) -> bool {
        self.script.lossy
    }

    /// How many documents it can be tried with.
    pub fn sample_count(&self) -> usize {
        self.script.samples.len()
    }

    /// Documents that it can be tried with, and their keys.
    pub(crate) fn samples(&self) -> impl Iterator<Item = (&Bytes, &[u8])> {
        let keys = self.script.keys.iter().map(|key| &key[..]);
        self.script
            .samples
            .iter()
            .zip(keys.chain(std::iter::repeat(&b"sample"[..])))
    }

    pub(crate) fn error(&self, function: Function, fault: Fault) -> StepError {
        let part = match function {
            Function::Up => Part::Up,
            Function::Down => Part::Down,
            Function::Check => Part::Check,
        };
        fault.at(self.source.path(), part)
    }

    /// Runs `up` and its check, or `down`, on the document at hand, and writes what it made.
    pub(crate) fn run(
        &self,
        sandbox: &mut Sandbox,
        place: usize,
        function: Function,
    ) -> Result<(), StepError> {
        let fail = |fault| self.error(function, fault);
        sandbox.change(place, function).map_err(fail)?;
        if function == Function::Up && self.script.has_check {
            let fail = |fault| self.error(Function::Check, fault);
            sandbox.check(place).map_err(fail)?;
        }
        sandbox.write().map_err(fail)
    }
}

//! What can be wrong with a script, with a chain of them, or with a document on its way through.

use std::{fmt, time::Duration};

use crate::{Difference, limits::Whole};

/// A fault, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepError {
    /// The script: `game/player/0003_rename_gold.lua`; or the chain, where no single one is at fault: `game/player`.
    pub script: String,
    /// The part of it.
    pub part: Part,
    /// What is wrong.
    pub fault: Fault,
}

/// A part of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The file, and what it returns.
    Script,
    /// The function `up`.
    Up,
    /// The function `down`.
    Down,
    /// The function `check`.
    Check,
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.script)?;
        match self.part {
            Part::Script => {}
            Part::Up => f.write_str("up ")?,
            Part::Down => f.write_str("down ")?,
            Part::Check => f.write_str("check ")?,
        }
        write!(f, "{}", self.fault)
    }
}

impl std::error::Error for StepError {}

/// What is wrong. Where a function is at fault, the message goes on after its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The file is no Lua.
    #[error("is not Lua: {0}")]
    Syntax(String),
    /// The file returns something else.
    #[error(
        "returns {found}: end it with `return {{ from = .., to = .., up = function(doc) .. end }}`"
    )]
    NotATable {
        /// What it returns.
        found: &'static str,
    },
    /// A field that every script has.
    #[error("has no `{0}`")]
    MissingField(&'static str),
    /// A field that no script has.
    #[error(
        "has a field `{0}`, which means nothing: the fields are from, to, up, down, check, samples, keys, lossy"
    )]
    UnknownField(String),
    /// A field is not what it has to be.
    #[error("has `{field}` that is {found}: it has to be {wanted}")]
    WrongType {
        /// Its name.
        field: &'static str,
        /// What it has to be.
        wanted: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// The versions are not those of the file's number.
    #[error("goes from {from} to {to}: number {number} goes from {} to {number}", number.saturating_sub(1))]
    WrongVersions {
        /// As it says.
        from: u32,
        /// As it says.
        to: u32,
        /// Of the file.
        number: u32,
    },
    /// It did more than [`Limits::steps`](crate::Limits::steps).
    #[error("does not end: it was stopped after {steps} steps of work")]
    Loop {
        /// The limit.
        steps: u64,
    },
    /// It took longer than [`Limits::time`](crate::Limits::time).
    #[error("is too slow: it was stopped after {time:?} of processor time")]
    Slow {
        /// The limit.
        time: Duration,
    },
    /// All calls for one piece of work together used more than its [`Allowance`](crate::Allowance).
    #[error(
        "takes too long for one write: all that it needs of scripts may take {steps} steps of work and {time:?} of \
         processor time; write fewer records at once, or in the version that the store has"
    )]
    UsedUp {
        /// The allowance.
        steps: u64,
        /// The allowance.
        time: Duration,
    },
    /// It used more than [`Limits::memory_bytes`](crate::Limits::memory_bytes).
    #[error("needs more memory than the {bytes} bytes it may use")]
    Memory {
        /// The limit.
        bytes: usize,
    },
    /// It called itself too deep.
    #[error("calls itself too deep: the stack is full")]
    Recursion,
    /// It raised an error: the message, with script and line.
    #[error("failed: {0}")]
    Raised(String),
    /// The same document gave another result.
    #[error(
        "gives another result for the same document: let it keep nothing in locals outside of its functions"
    )]
    Nondeterministic,
    /// The result is over a limit of the store; says which.
    #[error("makes a document that is too large: {0}")]
    TooLarge(String),
    /// The result is nothing that can be stored; says why and where.
    #[error("makes no document: {0}")]
    NotADocument(String),
    /// The function returned another key beside the document: that.
    #[error(
        "returns another key for the record, {0:?}: a record keeps its key, return the document alone"
    )]
    KeyChange(String),
    /// The document does not pass, with the message if there is one.
    #[error("refuses the document{}", .0.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    CheckFailed(Option<String>),
    /// The document is not the same after it was checked.
    #[error("changes the document: it may only look")]
    CheckChanges,
    /// There is no way back.
    #[error("is missing: version {to} cannot be made back into {from}")]
    NoDown {
        /// The older version.
        from: u32,
        /// The newer version.
        to: u32,
    },
    /// `down` does not undo `up`.
    #[error("does not undo up: {0} (if that is meant, say lossy = true)")]
    RoundTrip(Difference),
    /// What is to be migrated is not a document.
    #[error("got something that is no document: {0}")]
    Malformed(String),
    /// A sample is not a document.
    #[error("has a sample that is no document, number {number}: {why}")]
    BadSample {
        /// From 1.
        number: usize,
        /// Why.
        why: String,
    },
    /// A number is missing between two scripts.
    #[error("comes after number {before}: number {} is missing", before + 1)]
    Gap {
        /// The last number that is there.
        before: u32,
    },
    /// Two scripts of one folder have the same number.
    #[error("has the same number as {other}: give it the next one that is free")]
    Duplicate {
        /// The other script.
        other: String,
    },
    /// The namespace and `_any` go different ways.
    #[error(
        "has the same number as {other}: a namespace goes on where `_any` ends, it cannot go another way"
    )]
    Fork {
        /// The script in `_any`.
        other: String,
    },
    /// It was applied with another text.
    #[error(
        "was changed after it was applied: put it back, and use the next number for the new text"
    )]
    Changed,
    /// It was applied, and is gone.
    #[error("was applied and is no longer there: put it back")]
    Gone,
    /// The chain does not reach so far.
    #[error("has no way from version {from} to {to}: its scripts go from {first} to {last}")]
    NoWay {
        /// Version that there is.
        from: u32,
        /// Version that is wanted.
        to: u32,
        /// First version of the chain.
        first: u32,
        /// Last version of the chain.
        last: u32,
    },
}

impl Fault {
    /// Whether the Lua state has to be thrown away: it may be full, or torn.
    pub(crate) fn spoils_state(&self) -> bool {
        matches!(
            self,
            Fault::Loop { .. }
                | Fault::Slow { .. }
                | Fault::UsedUp { .. }
                | Fault::Memory { .. }
                | Fault::Recursion
        )
    }

    /// An allowance is used up that was so much.
    pub(crate) fn used_up(Whole { steps, time }: Whole) -> Fault {
        Fault::UsedUp { steps, time }
    }

    /// With where it is.
    pub(crate) fn at(self, script: impl Into<String>, part: Part) -> StepError {
        StepError {
            script: script.into(),
            part,
            fault: self,
        }
    }
}

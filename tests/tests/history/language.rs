//! What clients ask for and what they are told, without what a history does not need. It travels from the clients'
//! processes as lines of JSON.

use serde::{Deserialize, Serialize};
use stillpoint_tests::linearizability;

/// Keys of a history, from 0.
pub const KEYS: u8 = 5;

/// One of the keys.
pub type Key = u8;

/// A call of a client.
pub type Call = linearizability::Call<Op, Told>;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// One step alone; a `Get` is a plain read.
    One(Step),
    /// Reads several records as of one revision.
    BatchGet(Vec<Key>),
    /// Reads all records there are, as of one revision.
    Scan,
    /// Guards, then steps, as one commit.
    Txn {
        guards: Vec<(Key, Guard)>,
        then: Vec<Step>,
        otherwise: Vec<Step>,
    },
}

/// What a transaction is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Step {
    Get(Key),
    Put {
        key: Key,
        document: Document,
        guard: Option<Guard>,
    },
    /// Adds to the document's number; makes the document if it is missing. Refused if the number would be under `min`.
    Add {
        key: Key,
        delta: i64,
        min: Option<i64>,
    },
    Delete {
        key: Key,
        guard: Option<Guard>,
    },
}

impl Step {
    /// The record it is about.
    pub fn key(&self) -> Key {
        match *self {
            Step::Get(key)
            | Step::Put { key, .. }
            | Step::Add { key, .. }
            | Step::Delete { key, .. } => key,
        }
    }
}

/// What must hold for a record.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Guard {
    /// Its revision is this; 0: it is missing.
    ModRev(u64),
    Exists(bool),
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Document {
    pub n: i64,
    /// Another one in each put; 0 in a document that an addition has made.
    pub tag: u64,
}

/// A record as it was told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub document: Document,
    pub create_rev: u64,
    pub mod_rev: u64,
    pub version: u64,
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// The revision in the answer's header; 0: it came without one.
    pub revision: u64,
    pub answer: Answer,
}

/// The answer itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    Got(Option<Record>),
    /// One for each key asked for; of a scan, one for each key there is.
    GotAll {
        revision: u64,
        records: Vec<Option<Record>>,
    },
    Put {
        mod_rev: u64,
        version: u64,
    },
    Added(Record),
    Deleted {
        existed: bool,
        revision: u64,
    },
    Done {
        succeeded: bool,
        revision: u64,
        results: Vec<Answer>,
    },
    /// A guard failed on this record, which is as told.
    Conflict {
        key: Key,
        current: Option<Record>,
    },
    /// An addition would have left its bounds.
    OutOfBounds,
    /// Anything that should not be.
    Failed(String),
}

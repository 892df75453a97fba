//! Steps between data formats.
//!
//! # Layout
//!
//! - [`mod@format`] has the store's own on-disk format: its number, and what a program does with a directory of another one.
//!   Directories of every format there ever was are kept in `migrations/fixtures/` and opened by a test for ever.
//! - Migrations of records, whose shape is the game's affair: [`source`] reads the scripts, a [`Chain`] takes a document from
//!   one version of its schema to another, [`lint`] tries scripts before they meet real data, a [`Rehearsal`] tries them on
//!   real data without changing it. [`Chain::lost_below`] tells what an older form does not carry. `sandbox` runs the Lua in them; [`error`] says what can be wrong.
//!
//! ```
//! use stillpoint_migrations::{Chain, Limits, Source};
//!
//! let text = "return { from = 0, to = 1, up = function(doc) doc.level = 1 end }";
//! let source = Source::new("_any", "player", 1, "level", text);
//! let mut chain = Chain::new("game", "player", &[source], Limits::default())?;
//! let document = chain.up(0, 1, b"p07", b"\x81\xa4name\xa3Ann")?;
//! assert_eq!(document, b"\x82\xa4name\xa3Ann\xa5level\x01"[..]);
//! # Ok::<(), stillpoint_migrations::StepError>(())
//! ```
//!
//! # Versions
//!
//! A record's schema is the number of the last script that it went through: script N makes version N of version N-1. A record
//! without a schema has version 0, so the first script of all is 1, from 0 to 1. Scripts that no record needs any more can be
//! taken away from the beginning of a chain, never from its middle or its end.

// Nearly every function of the sandbox is the body of a C function or part of one; see `stillpoint_value`.
#![allow(unsafe_op_in_unsafe_fn)]

mod arrange;
mod chain;
mod difference;
pub mod error;
pub mod format;
mod kept;
mod limits;
mod lint;
mod rehearsal;
mod sandbox;
pub mod source;
mod step;
mod template;

pub use blake3::Hash;
pub use chain::Chain;
pub use difference::Difference;
pub use error::{Fault, Part, StepError};
pub use kept::Lost;
pub use limits::{Allowance, Limits};
pub use lint::lint;
pub use rehearsal::Rehearsal;
pub use source::{Source, next_number, read_dir};
pub use step::{Applied, Step};
pub use template::template;

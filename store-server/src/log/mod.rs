//! The commit log: the truth of the store. Everything else is a view of it.
//!
//! # Idea
//!
//! One writer appends *frames* to the newest *segment* file. A frame is one group commit: all the commits that the
//! writer accepted together, written with one `write` and made durable with one `fdatasync`. A segment that has grown
//! large is *sealed* with a checksum over the whole file and a new one is begun, whose header repeats that checksum,
//! so that a missing or exchanged segment is noticed.
//!
//! ```text
//! log/00000000000000000001.log                       log/00000000000000004711.log
//! ┌────────┬───────┬───────┬─ ─ ─┬───────┬──────┐     ┌────────┬───────┬──
//! │ header │ frame │ frame │     │ frame │ seal │ ◀── │ header │ frame │   appended here
//! └────────┴───────┴───────┴─ ─ ─┴───────┴──────┘     └────────┴───────┴──
//!            └ magic, length, first seq, synced seq, count, CRC32C, then one entry per commit
//! ```
//!
//! # Torn or damaged?
//!
//! After a crash the last frames may be incomplete. Each frame's header says up to which sequence number the log was
//! known to be on disk when the frame was written. A bad frame that a later, intact frame calls synced was lost after
//! it had been acknowledged: that is damage, and the log refuses to open. A bad frame that nothing behind it calls
//! synced is a torn tail; it is cut, and the bytes cut are kept in a file beside the segment.
//!
//! What this cannot see: a flipped bit in the very last frame looks like a torn tail. The store catches most of these,
//! since a view that is ahead of the log also refuses to open, and a clean stop seals the log.
//!
//! # Layout
//!
//! - [`entry`]: one commit, as bytes.
//! - [`frame`]: frames and seals, as bytes.
//! - [`segment`]: one file: its name, its header, reading it frame by frame.
//! - [`appender`]: the writing end.
//! - [`reader`]: the reading end, for those who follow it.
//! - [`recovery`]: what happens at start.
//! - [`salvage`]: reading what is left of a damaged log.
//! - [`retention`]: which sealed segments may go.

pub mod appender;
pub mod entry;
pub mod frame;
pub mod reader;
pub mod recovery;
pub mod retention;
pub mod salvage;
pub mod segment;

pub use appender::Appender;
pub use entry::{Change, Entry, Origin, Written};
pub use frame::FrameBuilder;
pub use recovery::{Damage, LogError, OnTornTail, Recovered, recover};
pub use segment::{SegmentFile, Segments};

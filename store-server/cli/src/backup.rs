//! What the commands about backups share.
//!
//! - [`target`]: where the backups are. [`key`]: what they are encrypted with. [`moment`]: which state is meant. [`rate`]: how
//!   fast one is read.
//! - [`work`]: doing what the library does, with a progress line, until Ctrl-C.
//! - [`words`]: a backup as people and programs see it. [`schedule`]: what the server does by itself.

pub mod key;
pub mod moment;
pub mod rate;
pub mod schedule;
pub mod target;
pub mod words;
pub mod work;

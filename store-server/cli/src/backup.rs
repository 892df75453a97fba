//! What the commands about backups share.
//!
//! - [`target`]: where the backups are. [`moment`]: which state is meant.
//! - [`work`]: doing what the library does, with a progress line, until Ctrl-C.
//! - [`words`]: a backup as people and programs see it.

pub mod moment;
pub mod target;
pub mod words;
pub mod work;

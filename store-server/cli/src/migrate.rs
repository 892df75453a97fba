//! What the commands about migrations share.
//!
//! - [`collection`]: which collection is meant. [`folder`]: the scripts in a folder. [`pace`]: how fast, how long, and in whose name.
//! - [`steps`]: taking collections to another version, up to the moment from which it counts. [`job`]: how the rewriting goes.
//!   [`listen`]: hearing the store without being deaf to Ctrl-C.
//! - [`words`]: a migration as people and programs see it.

pub mod collection;
pub mod folder;
pub mod job;
pub mod listen;
pub mod pace;
pub mod steps;
pub mod words;

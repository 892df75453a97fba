//! Stillpoint's store: a commit log, a view of it, the rules of writing, and the services that offer it.
//!
//! # Layout, in the order a request meets it
//!
//! - [`serve`]: binds the sockets, runs until told to stop.
//! - [`service`]: decodes requests, calls the store, encodes answers. Only here is tonic known.
//! - [`store`]: the rules, the one writer, the view.
//! - [`value`]: MessagePack values as bytes.
//! - [`log`]: the commit log, which is the truth.
//! - [`engine`]: the ordered key-value store below the view. Only `engine/sled.rs` knows sled.
//! - `archive`: how a copy of a store lies in files.
//! - [`backup`]: copies of the store elsewhere, and the way back.
//! - [`migration`]: what scripts make of records.
//! - [`config`]: every setting. `page_cache`: advice to the system.

mod archive;
pub mod backup;
pub mod config;
pub mod engine;
pub mod log;
pub mod migration;
mod page_cache;
pub mod serve;
pub mod service;
pub mod store;
pub mod value;

//! Stillpoint's client: connects, pipelines, repeats, keeps deadlines. There is no Lua in it.

// A `StoreError` carries the record a guard failed on. It is moved once per failed operation; a box would cost more.
#![allow(clippy::result_large_err)]

mod admin;
mod client;
mod config;

pub use admin::AdminClient;
pub use client::{Client, Info, Outcome, Reply};
pub use config::{CallOptions, Config};
pub use stillpoint_proto::v1;

//! The contract between Stillpoint's store and its clients.
//!
//! # Layout
//!
//! - [`v1`]: the messages and services, compiled from `stillpoint/v1/*.proto`, whose comments are the reference.
//! - [`error`]: how a [`v1::StoreError`] travels as a gRPC status and back.
//! - [`name`]: the rules for namespaces, collections and keys, which both sides check.
//!
//! Changes to the contract are additive only.

pub mod error;
pub mod name;

/// The messages and services of package `stillpoint.v1`.
#[allow(missing_docs, clippy::large_enum_variant)]
#[rustfmt::skip]
pub mod v1 {
    tonic::include_proto!("stillpoint.v1");
}

/// The compiled descriptors, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/stillpoint_descriptor.bin"));

/// The default path of the data port's socket within the data directory.
pub const DATA_SOCKET: &str = "stillpoint.sock";

/// The default path of the operator's socket within the data directory.
pub const ADMIN_SOCKET: &str = "admin.sock";

/// The default data directory, relative to the working directory.
pub const DEFAULT_DATA_DIR: &str = "stillpoint-data";

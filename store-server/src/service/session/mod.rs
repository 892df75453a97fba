//! Sessions: who is there, who waits for what, and what they are told.
//!
//! What must outlive the server stands in the store: sessions, claims, timers. What is here is forgotten when the server
//! stops, and found out again after the start: which holders are there, who waits for which record, which firing of a timer
//! was told to whom.
//!
//! - [`hub`]: brings the parts together; one task of it hears of what the store has changed.
//! - [`presence`]: whether a session's holder is there. [`seat`]: how that stands for a successor.
//! - `waiters`, [`handover`]: who waits for a record. `wishes`: what its owner is told. [`claim`]: a claim that waits.
//! - `timers`, [`firing`]: what fires where.
//! - [`asked`]: what operators ask of holders.
//! - [`open`], [`attach`]: the two calls that wait. [`api`]: the service.
//! - `coming`: waiting for a holder.
//! - `list`: what the operator is told.

pub mod api;
pub mod asked;
pub mod attach;
pub mod claim;
mod coming;
pub mod firing;
pub mod handover;
pub mod hub;
mod list;
pub mod open;
pub mod presence;
pub mod seat;
mod timers;
mod waiters;
mod wishes;

pub use list::list;

use std::sync::Arc;

/// Names a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its id.
    pub id: Arc<str>,
}

/// Names a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceKey {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub service: Arc<str>,
}

//! What operators ask of logic processes: the service `ManagementService`.
//!
//! - [`api`]: the service. `request`: what it must be asked like.
//! - [`selection`]: which processes.
//! - [`dispatch`]: asking one of them. [`action`]: asking many. [`teller`]: telling how it goes.
//! - `simple`: what is done with each process for itself. [`leaving`]: drain and evict.
//! - [`fleet`], [`restart`]: what is done with all of them together.
//! - [`audit`]: what is written down.

pub mod action;
pub mod api;
pub mod audit;
pub mod dispatch;
pub mod fleet;
pub mod leaving;
mod request;
pub mod restart;
pub mod selection;
mod simple;
pub mod teller;

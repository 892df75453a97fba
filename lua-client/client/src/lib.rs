//! Stillpoint's client: connects, pipelines, repeats, keeps deadlines. There is no Lua in it.
//!
//! One stream (`StateService.Pipeline`) carries all operations. Callers queue operations; whatever has queued up since the
//! last frame goes out as one. The client owns a runtime of one thread, and that thread is *the caller's*: who waits,
//! drives. So a blocking call has no thread hop, and a background thread is started only when work is left undriven.
//!
//! ```text
//!  caller ── submit ──▶ ledger ──▶ outbound ──▶ ┐
//!         ◀── take ──── (one     ◀─ connection ◀┴─ the store
//!                        mutex)  ◀─ clock (deadlines)
//!         ── wait, poll: driver (block_on here; else background)
//! ```
//!
//! A client has up to three connections: this one; one for the control stream of its session, so that nothing delays a
//! heartbeat; and one for its watches, whose takers may be slow. With a session or a watch the background thread drives
//! whenever no caller has for a moment.
//!
//! # Layout, as an operation meets it
//!
//! - `client`: what users see; `config`: what they say.
//! - `shared`: what callers and tasks share; `driver`: who drives the runtime; `spin`: whether it spins before it sleeps;
//!   `background`: the thread that drives when nobody else does; `fork`: a child process starts afresh; `sigpipe`: a lost
//!   connection kills nobody.
//! - `ledger`: every operation and how far it got. All rules of batching, credits, repeats and deadlines, without I/O.
//! - `wire`: the frames, with operations encoded once however often they are sent; `outbound`: the stream of them.
//! - `connection`: dialling (`endpoint`), opening, reading answers, reconnecting; `clock`: what happens at its time.
//! - `session`: opening it, and its control stream; `watch`: streams of changes, and where to go on with them; `event`: what
//!   they have to tell.
//! - `signal`: the file descriptor for event loops. `admin`: the operator's port.
//!
//! # What it promises
//!
//! An operation ends exactly once, at the latest at its deadline, in whichever phase it is. A write is sent with the
//! same number however often it is repeated, so the store applies it once. An error says `maybe_applied` exactly if the
//! write's bytes may have reached a store that did not refuse it.

// A `StoreError` carries the record a guard failed on. It is moved once per failed operation; a box would cost more.
#![allow(clippy::result_large_err)]

mod admin;
mod background;
mod client;
mod clock;
mod config;
mod connection;
mod driver;
mod endpoint;
mod error;
mod event;
mod fork;
mod ledger;
mod outbound;
mod session;
mod shared;
mod signal;
mod sigpipe;
mod spin;
mod watch;
mod wire;

pub use admin::{AdminClient, Messages};
pub use client::{Client, Info, Outcome, Reply};
pub use config::{CallOptions, Config, SessionConfig};
pub use event::Event;
pub use session::{SessionInfo, SessionState};
pub use stillpoint_proto::v1;
pub use watch::Heard;

//! Sessions as a client sees them, spoken in plain gRPC against a server in this process.
//!
//! - `server`: a server that can be stopped and started again on its data. `peer`: one at the other end.
//! - `succession`: who gets a session. `lifetime`: how long it lives. `restart`: what a start of the server changes.
//! - `claims`: who gets a record. `timers`: who is told of a firing.

mod claims;
mod lifetime;
mod peer;
mod restart;
mod server;
mod succession;
mod timers;

//! What operators ask of logic processes, spoken in plain gRPC against a server in this process.
//!
//! - `server`: a server that can be stopped and started again on its data. `process`: a logic process as the server sees it.
//!   `operator`: the one who asks.
//! - `command`: one process is asked. `many`: several are. `leaving`: drain and evict.
//! - `selection`: who is asked, and what is refused. `journal`: what is written down.

mod command;
mod journal;
mod leaving;
mod many;
#[allow(dead_code, reason = "the tests of fleets use the rest")]
mod operator;
mod process;
mod selection;
mod server;

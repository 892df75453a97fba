//! Fleet reloads and rolling restarts, spoken in plain gRPC against a server in this process.
//!
//! - `fake`: a logic process that has a program and fails as it is scripted. `fleet`: several, and what is true of them.
//! - `apply`: a reload. `steps`: plan, status, rollback. `restart`: a rolling restart.
//! - `random`: whatever they do, what is told is true.

mod apply;
mod fake;
mod fleet;
mod random;
mod restart;
mod steps;

#[path = "../management/operator.rs"]
#[allow(dead_code, reason = "the tests of single commands use the rest")]
mod operator;
#[path = "../management/process.rs"]
#[allow(dead_code, reason = "the tests of single commands use the rest")]
mod process;
#[path = "../management/server.rs"]
#[allow(dead_code, reason = "the tests of single commands use the rest")]
mod server;

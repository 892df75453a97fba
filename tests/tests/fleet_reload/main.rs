//! Fleet reloads and rolling restarts of real processes of several Luas, whose program is in files, by the operator's port
//! of the built program. Processes, the operator and the server leave at every phase.
//!
//! Nothing here happens by chance: a process waits where it was told to, in the chunk of a module or in its hook, and says
//! so; then it is killed, stopped, or let go.
//!
//! - `process`, `worker.lua`: a process and its program. `world`: a server with three, and what has to be true at the end.
//! - `whole`: all go over, or none does. `killed`, `stopped`: one is lost or hangs. `leaving`: the operator leaves, or the
//!   server. `coming`: a process starts meanwhile. `restart`: a rolling restart.

mod coming;
mod killed;
mod leaving;
#[path = "../commands/operator.rs"]
#[allow(dead_code, reason = "the tests of single commands use the rest")]
mod operator;
mod process;
mod restart;
mod stopped;
mod whole;
mod world;

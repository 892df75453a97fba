//! The commands, one file each: its options as typed, and `run`, which does it.

use crate::{cli::Command, failure::Failure};

pub mod ask;
pub mod audit;
pub mod backup;
pub mod bench;
pub mod completions;
pub mod del;
pub mod demo;
pub mod drain;
pub mod dump;
pub mod evict;
pub mod get;
pub mod history;
pub mod load;
pub mod lua;
pub mod mark;
pub mod migrate;
pub mod notify;
pub mod put;
pub mod reload;
pub mod repair;
pub mod restart;
pub mod restore;
pub mod scan;
pub mod serve;
pub mod sessions;
pub mod status;
pub mod txn;

/// Does what was typed; `json`: for programs.
pub fn run(command: Command, json: bool) -> Result<(), Failure> {
    match command {
        Command::Serve(options) => serve::run(*options),
        Command::Status(options) => status::run(options, json),
        Command::Sessions(options) => sessions::run(options, json),
        Command::Ask(options) => ask::run(options, json),
        Command::Notify(options) => notify::run(options, json),
        Command::Drain(options) => drain::run(options, json),
        Command::Evict(options) => evict::run(options, json),
        Command::Reload(options) => reload::run(options, json),
        Command::Restart(options) => restart::run(options, json),
        Command::Audit(options) => audit::run(options, json),
        Command::Backup(options) => backup::run(options, json),
        Command::Restore(options) => restore::run(options, json),
        Command::Mark(options) => mark::run(options, json),
        Command::Migrate(options) => migrate::run(options, json),
        Command::History(options) => history::run(options, json),
        Command::Get(options) => get::run(options, json),
        Command::Put(options) => put::run(options, json),
        Command::Del(options) => del::run(options, json),
        Command::Demo(options) => demo::run(options, json),
        Command::Repair(options) => repair::run(*options, json),
        Command::Scan(options) => scan::run(options, json),
        Command::Txn(options) => txn::run(options, json),
        Command::Dump(options) => dump::run(options, json),
        Command::Load(options) => load::run(options, json),
        Command::Bench(options) => bench::run(options, json),
        Command::Lua(options) => lua::run(options),
        Command::Completions(options) => completions::run(options),
    }
}

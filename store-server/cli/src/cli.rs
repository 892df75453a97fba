//! What the user typed.

use clap::{Parser, Subcommand};

use crate::command::{
    ask, audit, backup, bench, completions, del, demo, drain, dump, evict, get, history, load, lua,
    mark, migrate, notify, put, reload, repair, restart, restore, scan, serve, sessions, status,
    txn,
};

const AFTER_HELP: &str = "\
Records are named COLLECTION/KEY, e.g. player/42. Values are JSON; what JSON
lacks is written {\"$bin\": \"base64\"}, {\"$f32\": 1.5}, {\"$map\": [[1, \"one\"]]}
and so on, as `stillpoint put --help` explains.

Exit codes:
  0  done
  1  the store, the machine, or a process that was asked failed
  2  the command line, a settings file or a document is wrong
  3  the record or the backup does not exist, or a guard failed; processes run
     different programs; records cannot be migrated
  4  there is no such process

Examples:
  stillpoint demo                   # shows what all this is for
  stillpoint serve                  # keeps its data in ./stillpoint-data
  stillpoint put player/42 '{\"name\": \"Ann\", \"gold\": 100}'
  stillpoint get player/42
  stillpoint scan player --prefix 4
  stillpoint lua game.lua
  stillpoint command ping --all
";

/// Stillpoint keeps the state of running programs: a store, the operator's commands, and a Lua host.
#[derive(Debug, Parser)]
#[command(name = "stillpoint", version, after_help = AFTER_HELP)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Print for programs: results as JSON on stdout, errors as JSON on stderr
    #[arg(long, global = true, display_order = 1000)]
    pub json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the store
    Serve(Box<serve::Options>),
    /// Say how the store is
    Status(status::Options),
    /// List the sessions of logic processes
    Sessions(sessions::Options),
    /// Run a command in running processes
    #[command(name = "command")]
    Ask(ask::Options),
    /// Tell running processes something
    Notify(notify::Options),
    /// Reload the program of running processes: of all, or of none
    Reload(reload::Options),
    /// Replace running processes by their successors, one after another
    Restart(restart::Options),
    /// Let running processes save, leave their sessions and exit
    Drain(drain::Options),
    /// End sessions without asking their processes
    Evict(evict::Options),
    /// Show what operators asked of processes
    Audit(audit::Options),
    /// Print a record
    Get(get::Options),
    /// Write a record
    Put(put::Options),
    /// Delete a record
    Del(del::Options),
    /// List the records of a collection
    Scan(scan::Options),
    /// Do a transaction: guards, then operations, as one commit
    Txn(txn::Options),
    /// Write collections to a file
    Dump(dump::Options),
    /// Read a file that `dump` wrote back into the store
    Load(load::Options),
    /// Show the commits that wrote a record, with what they changed
    History(history::Options),
    /// Label this moment, to be able to come back to it
    Mark(mark::Options),
    /// Take backups of the store, and look after them
    Backup(backup::Options),
    /// Change the shape of records while old and new programs run side by side
    Migrate(migrate::Options),
    /// Make a data directory from backups, as of any moment
    Restore(restore::Options),
    /// Save what can be saved of a damaged data directory
    Repair(Box<repair::Options>),
    /// See a game's processes, and the store, killed all the time, with nothing lost
    Demo(demo::Options),
    /// Measure how fast the store is
    Bench(bench::Options),
    /// Run a Lua script with the client built in
    Lua(lua::Options),
    /// Print a script that completes commands in your shell
    Completions(completions::Options),
}

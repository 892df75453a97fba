//! `stillpoint backup`: takes backups, and looks after them.

use clap::{Args, Subcommand};

use crate::failure::Failure;

mod create;
mod describe;
mod expire;
mod key;
mod list;
mod pull;
mod schedule;
mod verify;

pub use create::parse_label;

/// The exit codes of these commands, for their help.
pub const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 something failed or was found damaged, 2 the command line is
wrong, 3 there is no such backup, or no such moment in them.";

const AFTER_HELP: &str = "\
Backups are kept in a directory or a bucket, the target, of which each store needs
one of its own. A full backup has all records, an incremental one what was
committed since the backup before; any moment between can be restored. `create`
asks the server, which writes to the target itself, while it goes on serving;
`pull` brings the backup to this machine; `schedule` shows what the server does by
itself. All other commands, and `stillpoint restore`, need no server.

Buckets are reached with what the environment says: AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT, GOOGLE_*, AZURE_*. An endpoint that
begins with http:// needs AWS_ALLOW_HTTP=true. For `create` that is the server's
environment. STILLPOINT_BACKUP can name the target for all.

Examples:
  stillpoint backup create --to /mnt/backups/world1
  stillpoint backup create --to s3://backups/world1 --incremental
  stillpoint backup schedule
  stillpoint backup list --from s3://backups/world1
  stillpoint backup verify --from s3://backups/world1 --restore
  stillpoint backup expire --from s3://backups/world1 --daily 7 --weekly 4
  stillpoint restore --from s3://backups/world1 --to 14:05 --into ./restored";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take a backup of the running store
    Create(create::Options),
    /// Take a backup of the running store to a disk of this machine
    Pull(pull::Options),
    /// Make a key to encrypt backups with
    Key(key::Options),
    /// List the backups of a target
    List(list::Options),
    /// Say what a backup has, and which others it needs
    Describe(describe::Options),
    /// See whether a backup could be restored
    Verify(verify::Options),
    /// Remove backups that are no longer wanted
    Expire(expire::Options),
    /// Show what the server does by itself, and what is wrong
    Schedule(schedule::Options),
}

/// Does what was typed.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    match options.command {
        Command::Create(options) => create::run(options, json),
        Command::Pull(options) => pull::run(options, json),
        Command::Key(options) => key::run(options, json),
        Command::List(options) => list::run(options, json),
        Command::Describe(options) => describe::run(options, json),
        Command::Verify(options) => verify::run(options, json),
        Command::Expire(options) => expire::run(options, json),
        Command::Schedule(options) => schedule::run(options, json),
    }
}

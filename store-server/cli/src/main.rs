//! The stillpoint program: the server, the operator's commands, and a Lua host.
//!
//! # Layout, in the order of a run
//!
//! - [`cli`]: what the user typed. [`settings`]: the server's settings from flags, environment and file.
//! - [`command`]: one file per command. [`port`]: the options they share, and how they reach the store.
//! - [`address`], [`record`], [`json`]: records and their values as people and scripts see them.
//! - [`management`]: what is asked of running processes, and how it goes.
//! - [`backup`], [`migrate`]: what the commands about backups, and about migrations, share. [`confirm`]: asking before what cannot be taken back.
//! - [`own_program`], [`interrupt`]: for commands that run other commands as child processes.
//! - [`failure`]: what is printed when a command fails, and the exit code.

use std::{env, process::ExitCode};

use clap::Parser;

use crate::failure::Failure;

mod address;
mod backup;
mod cli;
mod command;
mod confirm;
mod dump_format;
mod failure;
mod interrupt;
mod json;
mod logging;
mod management;
mod migrate;
mod output;
mod own_program;
mod pages;
mod port;
mod progress;
mod record;
mod settings;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && asks_for_json() => {
            return Failure::command_line(&error).report(true);
        }
        // Also help, and the version.
        Err(error) => error.exit(),
    };
    match command::run(cli.command, cli.json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(cli.json),
    }
}

/// Whether programs read what is printed, where the command line could not be read.
fn asks_for_json() -> bool {
    let mut options = env::args_os().take_while(|argument| argument != "--");
    options.any(|argument| argument == "--json")
}

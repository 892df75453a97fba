//! `stillpoint completions`: completes commands in the user's shell.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{cli::Cli, failure::Failure, output};

const AFTER_HELP: &str = "\
Examples:
  stillpoint completions bash > ~/.local/share/bash-completion/completions/stillpoint
  stillpoint completions zsh > ~/.zfunc/_stillpoint
  stillpoint completions fish > ~/.config/fish/completions/stillpoint.fish
";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Options {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub fn run(options: Options) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        options.shell,
        &mut Cli::command(),
        "stillpoint",
        &mut script,
    );
    Ok(output::print_text(&String::from_utf8_lossy(&script))?)
}

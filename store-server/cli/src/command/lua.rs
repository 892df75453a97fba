//! `stillpoint lua`: runs a script in the built-in Lua 5.4, with the client preloaded.

use std::path::Path;

use clap::Args;

use crate::failure::Failure;

const AFTER_HELP: &str = "\
The script runs in Lua 5.4 and finds the client with `require \"stillpoint\"`;
no Lua need be installed. Its arguments are in `arg` and `...`, as with the
stock interpreter.

With --watch, modules that the script requires are reloaded in place when their
files change, with what `stillpoint.reload` promises; the script is run again
when its own file changes, or when it has ended and one of its files changes.
It looks while the script sleeps or its store polls. For development.

Examples:
  stillpoint lua game.lua battle-3
  stillpoint lua --watch game.lua battle-3
  stillpoint lua -e 'print(require(\"stillpoint\").connect():collection(\"player\"):get(\"42\"))'
";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Options {
    /// Run this code instead of a file
    #[arg(short = 'e', long = "execute", value_name = "CODE")]
    code: Option<String>,
    /// Reload what changes while the script runs
    #[arg(short = 'w', long, conflicts_with = "code")]
    watch: bool,
    /// The script (without -e), then its arguments
    #[arg(
        value_name = "FILE [ARGS]",
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required_unless_present = "code"
    )]
    words: Vec<String>,
}

/// Runs the script.
pub fn run(options: Options) -> Result<(), Failure> {
    let outcome = match (&options.code, options.words.as_slice()) {
        (Some(code), args) => stillpoint_core::host::run_chunk(code, args),
        (None, [script, args @ ..]) if options.watch => {
            stillpoint_core::host::watch_script(Path::new(script), args)
        }
        (None, [script, args @ ..]) => stillpoint_core::host::run_script(Path::new(script), args),
        (None, []) => return Err(Failure::usage("no script is named")),
    };
    outcome.map_err(Failure::operation)
}

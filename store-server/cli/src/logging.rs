//! The server's log, on stderr.

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;

/// How the server logs.
#[derive(Debug, Args)]
#[command(next_help_heading = "Messages")]
pub struct LogOptions {
    /// What is logged: error, warn, info, debug or trace, for all or by module: `info,stillpoint_store_server=debug`
    #[arg(
        long,
        env = "STILLPOINT_LOG",
        hide_env_values = true,
        default_value = "info",
        value_name = "FILTER"
    )]
    pub log_level: String,
    /// How a message looks on stderr
    #[arg(
        long,
        env = "STILLPOINT_LOG_FORMAT",
        hide_env_values = true,
        default_value = "text"
    )]
    pub log_format: LogFormat,
}

/// How a message looks.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object on a line.
    Json,
}

/// Begins to log.
pub fn start(options: &LogOptions) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&options.log_level).map_err(|error| {
        Failure::usage(format_args!("--log-level {}: {error}", options.log_level))
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match options.log_format {
        LogFormat::Text => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder.with_ansi(colours).init();
        }
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

//! `stillpoint serve`: runs the store.

use clap::Args;
use stillpoint_store_server::serve;
use tokio::{
    runtime::Builder,
    signal::unix::{Signal, SignalKind, signal},
};

use crate::{
    failure::Failure,
    logging::{self, LogOptions},
    output,
    settings::{GivenSettings, SettingsFile, print_config},
};

const AFTER_HELP: &str = "\
A setting is taken from its flag, else from its environment variable, else from
the file of --config, else it has its default. Sizes are bytes or have a unit
(1048576, 1MiB, 10MB), times as well (90, 90s, 1h30m).

The server stops on SIGTERM or SIGINT: it takes no new requests, ends those in
flight, and leaves nothing unsynced. A second signal ends it at once, which
loses nothing that was acknowledged as durable.

Examples:
  stillpoint serve
  stillpoint serve --data-dir /srv/world1 --listen 127.0.0.1:7766
  stillpoint serve --max-value-bytes 4MiB --max-message-bytes 16MiB
  stillpoint serve --collection world1/position=applied --declared-only=false
  stillpoint serve --collection world1/player=claims
  stillpoint serve --print-config > stillpoint.toml
  STILLPOINT_CONFIG=stillpoint.toml stillpoint serve --log-format json
";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Options {
    #[command(flatten)]
    file: SettingsFile,
    /// Print the settings as they are now, as a commented TOML file, and end
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    settings: GivenSettings,
    #[command(flatten)]
    log: LogOptions,
}

/// Runs the store until it is told to stop.
pub fn run(options: Options) -> Result<(), Failure> {
    let file = options.file.path.as_deref();
    let config = options.settings.into_config(file).map_err(Failure::usage)?;
    if options.print_config {
        return Ok(output::print_text(&print_config(&config))?);
    }
    logging::start(&options.log)?;
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = StopSignals::listen()?;
        serve::run(config, stop.received())
            .await
            .map_err(Failure::operation)
    })
}

/// SIGTERM and SIGINT.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// From now on these signals no longer end the process by themselves.
    fn listen() -> std::io::Result<Self> {
        Ok(StopSignals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Returns at the first signal; the second ends the process.
    async fn received(mut self) {
        self.next().await;
        tracing::info!("stopping; a second signal stops at once");
        tokio::spawn(async move {
            self.next().await;
            tracing::warn!("second signal: stopping at once");
            std::process::exit(1);
        });
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

//! How fast records are rewritten, and how long sessions are waited for, as it is typed.

use std::time::Duration;

use clap::{Args, value_parser};
use stillpoint_proto::v1::Reason;

use crate::{command::put::millis, failure::Failure, management::options::user, port::parse_time};

/// How fast records are rewritten, and how many may fail.
#[derive(Debug, Args)]
pub struct Pace {
    /// Rewrite at most so many records a second, all of these collections together [default: the
    /// server's migration.records_per_second, with what else goes by that]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Stop after so many records that cannot be migrated [default: the server's migration.failed_max]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    failed_max: Option<u64>,
}

impl Pace {
    /// As the store is told: 0 is its own.
    pub fn rate(&self) -> u64 {
        self.rate.unwrap_or_default()
    }

    /// As the store is told: 0 is its own.
    pub fn failed_max(&self) -> u64 {
        self.failed_max.unwrap_or_default()
    }
}

/// Whom the store waits for, and who waits for the store.
#[derive(Debug, Args)]
pub struct Wait {
    /// Wait so long for sessions that could not go on, e.g. 60 or 5m [default: not at all]
    #[arg(long, value_name = "SECONDS", value_parser = parse_wait)]
    wait: Option<Duration>,
    /// Leave the records to the background, do not follow the rewriting
    #[arg(long)]
    pub detach: bool,
}

impl Wait {
    /// As the store is told.
    pub fn wait_ms(&self) -> u64 {
        self.wait.map_or(0, millis)
    }

    /// Says what would help where sessions are in the way.
    pub fn advise(&self, failure: Failure) -> Failure {
        match self.wait {
            None if failure.is(Reason::SchemaUnsupported) => {
                failure.hint(
                    "--wait 60 waits so many seconds until they have ended; `stillpoint sessions` lists them all",
                )
            }
            _ => failure,
        }
    }
}

/// Who asks.
#[derive(Debug, Args)]
pub struct Operator {
    /// Who asks, for the record [default: the user of the system]
    #[arg(long = "as", value_name = "NAME")]
    actor: Option<String>,
}

impl Operator {
    /// The name.
    pub fn name(&self) -> String {
        self.actor.clone().unwrap_or_else(user)
    }
}

/// Reads a time; a bare number is seconds, as the name of the value says.
fn parse_wait(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => parse_time(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_in_seconds_unless_it_says() {
        for (text, seconds) in [("0", 0), ("60", 60), ("5m", 300)] {
            assert_eq!(parse_wait(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert!(parse_wait("soon").is_err() && parse_wait("-1").is_err());
    }
}

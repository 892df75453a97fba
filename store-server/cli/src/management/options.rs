//! How it is asked: how long, how many at a time, and in whose name.

use std::{env, time::Duration};

use clap::{Args, value_parser};
use stillpoint_proto::v1::{ManageRequest, Selection, manage_request::Action};

use crate::{
    command::put::millis,
    port::{AdminPort, parse_time},
};

/// What all these commands have in common.
#[derive(Debug, Args)]
pub struct ActionOptions {
    /// Longest time a process may take to answer, and in a fleet reload to end a phase [default: the server's]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    timeout: Option<Duration>,
    /// Ask nobody, only say which processes it would be
    #[arg(long)]
    pub dry_run: bool,
    /// Who asks, for the audit [default: the user of the system]
    #[arg(long = "as", value_name = "NAME")]
    actor: Option<String>,
    /// The store's operator port.
    #[command(flatten)]
    pub port: AdminPort,
}

/// How many at a time; all at once unless told otherwise.
#[derive(Debug, Args)]
pub struct Pace {
    /// Ask so many processes at a time [default: all at once]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    parallel: Option<u32>,
    /// Begin with no further process once one has failed
    #[arg(long)]
    stop_on_error: bool,
}

impl ActionOptions {
    /// The request as it is sent, with all processes at once.
    pub fn request(&self, selection: Selection, action: Action) -> ManageRequest {
        ManageRequest {
            selection: Some(selection),
            actor: self.actor.clone().unwrap_or_else(user),
            timeout_ms: self.timeout.map_or(0, millis),
            dry_run: self.dry_run,
            action: Some(action),
            ..ManageRequest::default()
        }
    }

    /// The request as it is sent, at this pace.
    pub fn paced(&self, pace: &Pace, selection: Selection, action: Action) -> ManageRequest {
        ManageRequest {
            parallel: pace.parallel.unwrap_or_default(),
            stop_on_error: pace.stop_on_error,
            ..self.request(selection, action)
        }
    }
}

/// The user of the system, by name where the environment has it. A courtesy only: the server adds what it knows for
/// certain of its peer.
pub fn user() -> String {
    let named = |variable| env::var(variable).ok().filter(|name| !name.is_empty());
    named("USER")
        .or_else(|| named("LOGNAME"))
        .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

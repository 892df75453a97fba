//! The store's two ports, as commands name and reach them.

use std::time::Duration;

use clap::Args;
use stillpoint_client::{AdminClient, CallOptions, Client, Config};
use stillpoint_proto::{
    name::check_name,
    v1::{Op, Reason, StoreError, op, op_result},
};

use crate::failure::Failure;

/// The namespace of commands that are not told another.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Where the store is, for commands that read and write records.
#[derive(Debug, Args)]
pub struct DataPort {
    /// Where the store is: unix:PATH or http://HOST:PORT
    #[arg(
        long,
        env = "STILLPOINT_URL",
        hide_env_values = true,
        default_value = "unix:./stillpoint-data/stillpoint.sock",
        help_heading = "Store"
    )]
    pub url: String,
    /// Namespace of the records [default: default]
    #[arg(
        long,
        env = "STILLPOINT_NAMESPACE",
        hide_env_values = true,
        value_name = "NAME",
        value_parser = parse_namespace,
        help_heading = "Store"
    )]
    pub namespace: Option<String>,
    /// Longest time one operation may take, e.g. 500ms or 1m
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = parse_time, help_heading = "Store")]
    pub deadline: Duration,
}

impl DataPort {
    /// Connects, to the namespace given.
    pub fn connect(&self) -> Result<Client, Failure> {
        let namespace = self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        self.connect_to(namespace)
    }

    /// Connects, to this namespace.
    pub fn connect_to(&self, namespace: &str) -> Result<Client, Failure> {
        let mut config = Config::new(&self.url, namespace);
        config.client_name = "stillpoint".into();
        config.deadline = self.deadline;
        Client::connect(config).map_err(|error| unreachable(error, "--url or STILLPOINT_URL"))
    }
}

/// Where the store is, for commands that manage it.
#[derive(Debug, Args)]
pub struct AdminPort {
    /// Where the operator's port is: unix:PATH or http://HOST:PORT
    #[arg(
        long,
        env = "STILLPOINT_ADMIN",
        hide_env_values = true,
        value_name = "URL",
        default_value = "unix:./stillpoint-data/admin.sock",
        help_heading = "Store"
    )]
    pub admin: String,
    /// Longest time the store may take to answer, e.g. 500ms or 1m
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = parse_time, help_heading = "Store")]
    pub deadline: Duration,
}

impl AdminPort {
    /// Connects.
    pub fn connect(&self) -> Result<AdminClient, Failure> {
        AdminClient::connect(&self.admin, self.deadline)
            .map_err(|error| unreachable(error, "--admin or STILLPOINT_ADMIN"))
    }
}

/// An operation as it is sent.
pub fn operation(kind: op::Kind) -> Op {
    Op { kind: Some(kind) }
}

/// Does one operation.
pub fn call(client: &Client, kind: op::Kind) -> Result<op_result::Kind, Failure> {
    let reply = client.call(operation(kind), CallOptions::default())?;
    Ok(reply.kind)
}

/// An answer that does not fit its question.
pub fn unexpected(answer: &op_result::Kind) -> Failure {
    Failure::operation(format_args!(
        "the store's answer does not fit the question: {answer:?}"
    ))
}

/// Reads a time such as `500ms` or `1h30m`; a bare number is refused, as its unit would be a guess.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text)
        .map_err(|_| "write a time with its unit, e.g. 500ms, 10s or 1h30m")?;
    if time < Duration::from_millis(1) {
        return Err("less than a millisecond".into());
    }
    Ok(time)
}

/// Reads the name of a namespace.
pub fn parse_namespace(text: &str) -> Result<String, String> {
    check_name("namespace", text).map(|()| text.into())
}

fn unreachable(error: StoreError, option: &str) -> Failure {
    let unavailable = matches!(
        error.reason(),
        Reason::Unavailable | Reason::DeadlineExceeded
    );
    let failure = Failure::from(error);
    if unavailable {
        failure.hint(format_args!(
            "is it running? Start it with `stillpoint serve`, or say where it is with {option}"
        ))
    } else {
        failure
    }
}

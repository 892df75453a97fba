//! Keeps a connection: dials, opens the Pipeline, reads answers, and begins again when it breaks.

use std::{future::pending, sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use http::uri::PathAndQuery;
use stillpoint_proto::v1::{self, Reason, StoreError};
use tonic::{Request, Status, Streaming, client::Grpc};
use tonic_prost::ProstCodec;

use crate::{
    endpoint::{Endpoint, root_cause},
    outbound::Outbound,
    session,
    shared::Shared,
    wire::Frame,
};

const PIPELINE: &str = "/stillpoint.v1.StateService/Pipeline";

/// What a message may be larger than its limit, so that it is the sender who is told, by name.
pub(crate) const MESSAGE_BYTES_SLACK: usize = 1024 * 1024;

/// First and longest wait between rounds of attempts.
const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// How a connection ended.
struct End {
    /// For people.
    cause: String,
    /// Set if trying again cannot help.
    fatal: Option<StoreError>,
    /// It had carried answers.
    was_useful: bool,
    /// The store refused to open the session: nothing is left to do.
    is_refused: bool,
}

impl End {
    /// One that trying again may help against.
    fn of(cause: String) -> Self {
        End {
            cause,
            fatal: None,
            was_useful: false,
            is_refused: false,
        }
    }
}

/// Runs as long as the client. Endpoints are tried in turn; a lost one is tried again at once, and after each round without
/// success there is a wait.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut at = 0;
    let mut waits = backoff();
    let mut failures = 0;
    loop {
        let end = serve(&shared, at).await;
        tracing::debug!(endpoint = %shared.endpoints[at], cause = end.cause, "no connection");
        let is_over = {
            let mut ledger = shared.ledger.lock();
            ledger.broke(at, end.cause, end.fatal);
            end.is_refused || ledger.is_closed()
        };
        if is_over {
            return;
        }
        if end.was_useful {
            waits = backoff();
            failures = 0;
            continue;
        }
        failures += 1;
        at = (at + 1) % shared.endpoints.len();
        if failures % shared.endpoints.len() == 0 {
            match waits.next() {
                Some(wait) => tokio::time::sleep(wait).await,
                None => pending().await,
            }
        }
    }
}

pub(crate) fn backoff() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(BACKOFF_MIN)
        .with_max_delay(BACKOFF_MAX)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
        .build()
}

/// One connection from the dialling to its end.
async fn serve(shared: &Arc<Shared>, at: usize) -> End {
    let endpoint = &shared.endpoints[at];
    let connection = shared.ledger.lock().dialling(at, endpoint.to_string());
    let timeout = patience(shared);
    let opening = tokio::time::timeout(timeout, open(shared, endpoint, connection));
    let mut answers = match opening.await {
        Ok(Ok(answers)) => answers,
        Ok(Err(end)) => return end,
        Err(_) => {
            return End::of(format!(
                "no answer from {endpoint} within {timeout:?}; is the server overloaded, or something else?"
            ));
        }
    };
    let mut was_useful = false;
    loop {
        match answers.message().await {
            Ok(Some(frame)) => {
                was_useful |= !frame.results.is_empty();
                shared
                    .ledger
                    .lock()
                    .answered(frame, std::time::Instant::now());
            }
            Ok(None) => {
                return End {
                    was_useful,
                    ..End::of(format!("{endpoint} ended the connection"))
                };
            }
            Err(status) => {
                return End {
                    was_useful,
                    ..lost(endpoint, &status)
                };
            }
        }
    }
}

/// Connects and opens the Pipeline.
async fn open(
    shared: &Arc<Shared>,
    endpoint: &Endpoint,
    connection: u64,
) -> Result<Streaming<v1::PipelineResponse>, End> {
    let config = &shared.config;
    let channel = endpoint
        .dial(config.connect_timeout)
        .await
        .map_err(End::of)?;
    session::open::open(shared, &channel)
        .await
        .map_err(|status| refused(endpoint, &status))?;
    let bytes_max = config.message_bytes_max + MESSAGE_BYTES_SLACK;
    let mut grpc = Grpc::new(channel)
        .max_decoding_message_size(bytes_max)
        .max_encoding_message_size(bytes_max);
    let lost = |status: Status| lost(endpoint, &status);
    grpc.ready()
        .await
        .map_err(|error| lost(Status::unavailable(error.to_string())))?;
    let frames = Outbound::new(shared.clone(), connection, shared.opening());
    let codec = ProstCodec::<Frame, v1::PipelineResponse>::default();
    let path = PathAndQuery::from_static(PIPELINE);
    let mut answers = grpc
        .streaming(Request::new(frames), path, codec)
        .await
        .map_err(lost)?
        .into_inner();
    let first = answers.message().await.map_err(lost)?.unwrap_or_default();
    let Some(limits) = first.opened else {
        return Err(lost(Status::internal(
            "it did not open the Pipeline; is it a Stillpoint server?",
        )));
    };
    shared.ledger.lock().opened(limits, first.header);
    Ok(answers)
}

/// How long connecting may take, and opening the session where that is still to be done.
fn patience(shared: &Shared) -> Duration {
    let timeout = shared.config.connect_timeout;
    match &shared.config.session {
        Some(session) if shared.ledger.lock().session.is_none() => timeout + session.wait,
        _ => timeout,
    }
}

/// What it means that the session could not be opened.
fn refused(endpoint: &Endpoint, status: &Status) -> End {
    let error = StoreError::from_status(status);
    match session::open::is_refusal(&error) {
        true => End {
            fatal: Some(error),
            is_refused: true,
            ..End::of(loss(endpoint, status))
        },
        false => End::of(loss(endpoint, status)),
    }
}

/// What a status means for the connection.
fn lost(endpoint: &Endpoint, status: &Status) -> End {
    let error = StoreError::from_status(status);
    let is_fatal =
        matches!(error.reason(), Reason::Invalid) || status.code() == tonic::Code::Unimplemented;
    let fatal = is_fatal.then(|| StoreError {
        message: format!("{endpoint} refused the connection: {}", reason(status)),
        ..error
    });
    End {
        fatal,
        ..End::of(loss(endpoint, status))
    }
}

/// Why a connection was lost, for people.
pub(crate) fn loss(endpoint: &Endpoint, status: &Status) -> String {
    format!("the connection to {endpoint} was lost: {}", reason(status))
}

/// A transport error says only that it is one; what it wraps says what happened.
fn reason(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => root_cause(source),
        None => StoreError::from_status(status).message,
    }
}

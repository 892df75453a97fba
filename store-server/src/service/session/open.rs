//! Opening a session, or taking one over.

use std::{collections::HashMap, sync::Arc, time::Duration};

use stillpoint_proto::{
    name::check_name,
    v1::{OpenSessionRequest, OpenSessionResponse, Reason, StoreError},
};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep_until},
};

use super::{
    hub::Hub,
    seat::{Held, Seat},
};
use crate::{
    config::SessionConfig,
    store::{
        Store, server_time_ms,
        session::{Open, Session, SessionChange, identity},
    },
};

/// Most labels of a session.
const LABELS_MAX: usize = 32;

/// Most collections whose version a session declares.
const SCHEMAS_MAX: usize = 1024;

/// Most bytes of a label, of a version and of a name.
const TEXT_BYTES_MAX: usize = 128;

/// Heartbeats in the time that a session lives without one.
const HEARTBEATS_PER_TTL: u64 = 3;

/// Opens a session. Waits for a holder that is there as long as the request says, and for one that may come back after a
/// start of the server.
pub async fn open(
    hub: &Arc<Hub>,
    request: OpenSessionRequest,
    mut stopping: watch::Receiver<bool>,
) -> Result<OpenSessionResponse, StoreError> {
    let store = hub.store();
    let context = request.context.clone().unwrap_or_default();
    store.check_context(&context)?;
    check(&request)?;
    let namespace: Arc<str> = context.namespace.as_str().into();
    let identity = identity(&request.service, &request.instance);
    let wait_until = Instant::now() + Duration::from_millis(request.wait_ms.into());
    loop {
        // A stopping server has no holders: whose session it is, they say to the one that is started in its place.
        if *stopping.borrow() {
            return Err(stopped());
        }
        let (expected_fence, silent) = match hub.seat(&namespace, &identity) {
            Seat::Vacant => (0, None),
            Seat::Free { fence, silent } => (fence, Some(silent)),
            Seat::Held(held) if may_take(&request, &held.session) => {
                (held.session.fence, Some(Duration::ZERO))
            }
            Seat::Held(held) => {
                wait_for_change(held, wait_until, &mut stopping).await?;
                continue;
            }
        };
        let change = SessionChange::Open(Open {
            service: request.service.clone(),
            instance: request.instance.clone(),
            expected_fence,
            ttl_ms: ttl_ms(request.ttl_ms, &store.config().sessions),
            labels: request.labels.clone().into_iter().collect(),
            code_version: request.code_version.clone(),
            client_name: request.client_name.clone(),
            schemas: request.schemas.clone().into_iter().collect(),
        });
        let session = match change_session(store, &namespace, change).await {
            Ok(Some(session)) => Arc::new(session),
            Ok(None) => {
                return Err(StoreError::new(
                    Reason::Internal,
                    "the session is over as it is opened",
                ));
            }
            // Somebody was faster: look again.
            Err(error) if error.reason() == Reason::VersionConflict => continue,
            Err(error) => return Err(error),
        };
        hub.opened(&namespace, &session);
        return Ok(OpenSessionResponse {
            header: Some(store.header()),
            session_id: session.id.to_string(),
            fence: session.fence,
            resume_token: session.resume_token.clone().into(),
            ttl_ms: session.ttl_ms,
            heartbeat_ms: (session.ttl_ms / HEARTBEATS_PER_TTL).max(1),
            succeeded: silent.is_some(),
            claims: store.index().claim_count_of(&session.id) as u64,
            gap_ms: silent.map_or(0, |silent| silent.as_millis() as u64),
        });
    }
}

/// Changes a session, and waits until that is durable.
pub async fn change_session(
    store: &Store,
    namespace: &str,
    change: SessionChange,
) -> Result<Option<Session>, StoreError> {
    let (sender, receiver) = oneshot::channel();
    // Who has gone away wants no answer.
    store.change_session(namespace, change, |result| drop(sender.send(result)));
    receiver.await.unwrap_or_else(|_| {
        let mut error =
            StoreError::new(Reason::Unavailable, "the server stopped before it answered");
        error.maybe_applied = true;
        Err(error)
    })
}

/// How long a session lives that asks for so much.
fn ttl_ms(asked_ms: u64, config: &SessionConfig) -> u64 {
    let longest_ms = config.ttl_max_secs.saturating_mul(1000);
    match asked_ms {
        0 => config.ttl_secs.saturating_mul(1000),
        asked_ms => asked_ms.min(longest_ms),
    }
}

/// Whether the request may take the session from a holder that is there.
fn may_take(request: &OpenSessionRequest, session: &Session) -> bool {
    request.takeover || same(&request.resume_token, &session.resume_token)
}

/// Compares secrets in a time that does not tell where they differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .fold(0, |found, (a, b)| found | (a ^ b))
            == 0
}

/// Waits until the holder may have gone. Refused when that takes too long.
async fn wait_for_change(
    mut held: Held,
    wait_until: Instant,
    stopping: &mut watch::Receiver<bool>,
) -> Result<(), StoreError> {
    // A holder that has not come back by then is gone, however long the caller would wait for it.
    let until = held.expected_until.unwrap_or(wait_until);
    if held.expected_until.is_none() && until <= Instant::now() {
        return Err(refused(&held.session));
    }
    tokio::select! {
        // An error tells that the session is over.
        _ = held.changed.changed() => Ok(()),
        () = sleep_until(until) => match held.expected_until {
            Some(_) => Ok(()),
            None => Err(refused(&held.session)),
        },
        _ = stopping.wait_for(|stopping| *stopping) => Err(stopped()),
    }
}

fn stopped() -> StoreError {
    let message = "the server is stopping: open the session when it is back";
    StoreError::new(Reason::Unavailable, message)
}

fn refused(session: &Session) -> StoreError {
    let held_ms = server_time_ms().saturating_sub(session.held_since_ms);
    let message = format!(
        "{} is held by a living process{}, for {:.1} s: stop that one, open with its resume token, or with takeover = \
         true",
        session.identity(),
        match session.client_name.as_str() {
            "" => String::new(),
            name => format!(" ({name})"),
        },
        held_ms as f64 / 1000.0
    );
    let mut error = StoreError::new(Reason::NotOwner, message);
    error.holder = session.holder();
    error
}

fn check(request: &OpenSessionRequest) -> Result<(), StoreError> {
    let invalid = |message: String| StoreError::new(Reason::Invalid, message);
    check_name("service", &request.service).map_err(invalid)?;
    check_name("instance", &request.instance).map_err(invalid)?;
    check_labels(&request.labels).map_err(invalid)?;
    check_schemas(&request.schemas).map_err(invalid)?;
    for (what, text) in [
        ("code version", &request.code_version),
        ("client name", &request.client_name),
    ] {
        if text.len() > TEXT_BYTES_MAX {
            return Err(invalid(format!(
                "the {what} has {} bytes: use at most {TEXT_BYTES_MAX}",
                text.len()
            )));
        }
    }
    Ok(())
}

fn check_labels(labels: &HashMap<String, String>) -> Result<(), String> {
    if labels.len() > LABELS_MAX {
        return Err(format!("{} labels: use at most {LABELS_MAX}", labels.len()));
    }
    match labels
        .iter()
        .find(|(name, text)| name.is_empty() || name.len().max(text.len()) > TEXT_BYTES_MAX)
    {
        Some((name, _)) => Err(format!(
            "label {name:?}: use 1 to {TEXT_BYTES_MAX} bytes for its name, at most {TEXT_BYTES_MAX} for its text"
        )),
        None => Ok(()),
    }
}

fn check_schemas(schemas: &HashMap<String, u32>) -> Result<(), String> {
    if schemas.len() > SCHEMAS_MAX {
        return Err(format!(
            "versions of {} collections: use at most {SCHEMAS_MAX}",
            schemas.len()
        ));
    }
    schemas
        .keys()
        .try_for_each(|collection| check_name("collection", collection))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_the_default_or_what_is_asked_for_within_the_bound() {
        let config = SessionConfig::default();
        assert_eq!(ttl_ms(0, &config), 10_000);
        assert_eq!(ttl_ms(500, &config), 500);
        assert_eq!(ttl_ms(u64::MAX, &config), 3_600_000);
    }

    #[test]
    fn only_the_whole_token_opens() {
        assert!(same(b"secret", b"secret"));
        for wrong in [&b""[..], b"secre", b"secreT", b"secret2"] {
            assert!(!same(wrong, b"secret"));
        }
    }
}

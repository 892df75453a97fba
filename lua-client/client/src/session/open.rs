//! Opening the session: on the connection that is to carry the operations, before the first of them.

use stillpoint_proto::v1::{
    self, Reason, StoreError, session_service_client::SessionServiceClient,
};
use tonic::{Status, transport::Channel};

use crate::{ledger::millis, shared::Shared};

/// Opens the session if there is to be one and there is none yet. It stays the same over all connections.
pub(crate) async fn open(shared: &Shared, channel: &Channel) -> Result<(), Status> {
    let Some(session) = &shared.config.session else {
        return Ok(());
    };
    if shared.ledger.lock().session.is_some() {
        return Ok(());
    }
    let request = v1::OpenSessionRequest {
        context: Some(shared.context()),
        service: session.service.clone(),
        instance: session.instance.clone(),
        takeover: session.takeover,
        resume_token: session.resume_token.clone(),
        ttl_ms: millis(session.ttl),
        wait_ms: u32::try_from(session.wait.as_millis()).unwrap_or(u32::MAX),
        labels: session.labels.clone().into_iter().collect(),
        code_version: session.code_version.clone(),
        client_name: shared.config.client_name.clone(),
        schemas: session.schemas.clone().into_iter().collect(),
    };
    let response = SessionServiceClient::new(channel.clone())
        .open_session(request)
        .await?;
    let mut ledger = shared.ledger.lock();
    ledger.session_opened(&shared.config, response.into_inner());
    Ok(())
}

/// Whether the store has refused to open the session, and would do so again.
pub(crate) fn is_refusal(error: &StoreError) -> bool {
    !matches!(
        error.reason(),
        Reason::Unavailable | Reason::RateLimited | Reason::DeadlineExceeded
    )
}

//! What the operator is told of sessions.

use stillpoint_proto::v1::{ListSessionsRequest, SessionState, SessionStatus};
use tokio::time::Instant;

use super::{SessionKey, hub::Hub, presence::Link};
use crate::store::{Store, server_time_ms, session::Session};

/// The sessions that a request asks for, by namespace, service and instance.
pub fn list(store: &Store, hub: &Hub, request: &ListSessionsRequest) -> Vec<SessionStatus> {
    let (now, now_ms) = (Instant::now(), server_time_ms());
    let wants = |asked: &str, found: &str| asked.is_empty() || asked == found;
    let index = store.index();
    let sessions = index.sessions().filter(|(namespace, session)| {
        wants(&request.namespace, namespace) && wants(&request.service, &session.service)
    });
    let mut found: Vec<_> = sessions
        .map(|(namespace, session)| {
            let claims = index.claim_count_of(&session.id) as u64;
            (namespace.clone(), session.clone(), claims)
        })
        .collect();
    drop(index);
    found.sort_by(|(a_namespace, a, _), (b_namespace, b, _)| {
        (a_namespace, &a.service, &a.instance).cmp(&(b_namespace, &b.service, &b.instance))
    });
    let status =
        |(namespace, session, claims): (std::sync::Arc<str>, std::sync::Arc<Session>, u64)| {
            let key = SessionKey {
                namespace: namespace.clone(),
                id: session.id.clone(),
            };
            let mut status = SessionStatus {
                namespace: namespace.to_string(),
                service: session.service.clone(),
                instance: session.instance.clone(),
                session_id: session.id.to_string(),
                fence: session.fence,
                state: SessionState::Detached.into(),
                age_ms: now_ms.saturating_sub(session.opened_ms),
                holder_age_ms: now_ms.saturating_sub(session.held_since_ms),
                ttl_ms: session.ttl_ms,
                claims,
                holders: session.holders,
                labels: session.labels.clone().into_iter().collect(),
                code_version: session.code_version.clone(),
                client_name: session.client_name.clone(),
                schemas: session.schemas.clone().into_iter().collect(),
                ..SessionStatus::default()
            };
            hub.with_presence(&key, |presence| {
                let heard_ms = now.saturating_duration_since(presence.heard).as_millis() as u64;
                status.last_seen_ms = heard_ms;
                if matches!(presence.link, Link::Attached(_)) {
                    status.state = SessionState::Attached.into();
                    status.unsaved_documents = presence.unsaved.documents;
                    if presence.unsaved.documents > 0 {
                        status.oldest_unsaved_ms = presence.unsaved.oldest_ms + heard_ms;
                    }
                }
            });
            if session.linger_ms.is_some() {
                status.state = SessionState::Released.into();
            }
            status
        };
    found.into_iter().map(status).collect()
}

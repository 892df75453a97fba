//! How long a session lives, and how it ends.

use std::time::{Duration, Instant};

use stillpoint_proto::v1::{
    AttachRequest, ListSessionsRequest, OpenSessionRequest, Reason, SessionState, SessionStatus,
    admin_service_client::AdminServiceClient,
};

use crate::{
    peer::{Peer, claim, of, put, refused, token, wish},
    server::Server,
};

fn short_lived(instance: &str) -> OpenSessionRequest {
    OpenSessionRequest {
        ttl_ms: 400,
        ..wish(instance)
    }
}

#[tokio::test]
async fn a_silent_holder_loses_its_session_and_its_claims_are_free() {
    let server = Server::start().await;
    let peer = Peer::connect(&server).await;
    let (silent, mut attached) = peer.join(short_lived("a")).await;
    peer.pipe(of(&silent)).await.claim("boss").await;
    let (other, _other) = peer.join(wish("b")).await;
    let mut pipe = peer.pipe(of(&other)).await;
    token(pipe.call(claim("boss", 15_000, false)).await);
    assert_eq!(attached.fenced().await, 0);
    refused(peer.write(&silent, put("x")).await, Reason::SessionExpired);
    refused(peer.attach(&silent).await.map(drop), Reason::SessionExpired);
    let anew = peer.open(wish("a")).await.expect("there is none");
    assert_ne!(anew.session_id, silent.session_id);
    assert!(!anew.succeeded);
}

#[tokio::test]
async fn a_session_whose_holder_is_gone_ends_too() {
    let server = Server::start().await;
    let peer = Peer::connect(&server).await;
    let (gone, attached) = peer.join(short_lived("a")).await;
    peer.pipe(of(&gone)).await.claim("boss").await;
    drop(attached);
    let (other, _other) = peer.join(wish("b")).await;
    let mut pipe = peer.pipe(of(&other)).await;
    token(pipe.call(claim("boss", 15_000, false)).await);
}

#[tokio::test]
async fn heartbeats_keep_a_session_and_say_what_is_not_saved() {
    let server = Server::start().await;
    let peer = Peer::connect(&server).await;
    let (session, attached) = peer
        .join(OpenSessionRequest {
            ttl_ms: 1500,
            labels: [("zone".to_owned(), "eu".to_owned())].into(),
            code_version: "1.4.2".into(),
            ..wish("a")
        })
        .await;
    assert_eq!((session.ttl_ms, session.heartbeat_ms), (1500, 500));
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(2 * session.ttl_ms) {
        let beat = AttachRequest {
            unsaved_documents: 3,
            oldest_unsaved_ms: 250,
            ..AttachRequest::default()
        };
        attached.beat(beat).await;
        tokio::time::sleep(Duration::from_millis(session.heartbeat_ms / 5)).await;
    }
    peer.write(&session, put("x")).await.expect("it lives");
    peer.pipe(of(&session)).await.claim("boss").await;
    let found = only(listed(&server).await);
    assert_eq!(found.state(), SessionState::Attached);
    assert_eq!(
        (found.service.as_str(), found.instance.as_str()),
        ("battle", "a")
    );
    assert_eq!(
        (found.fence, found.holders, found.claims),
        (session.fence, 1, 1)
    );
    assert_eq!(found.unsaved_documents, 3);
    assert!(found.oldest_unsaved_ms >= 250);
    assert!(found.age_ms >= 2 * session.ttl_ms && found.last_seen_ms < session.ttl_ms);
    assert_eq!(
        (found.labels["zone"].as_str(), found.code_version.as_str()),
        ("eu", "1.4.2")
    );
}

#[tokio::test]
async fn a_closed_session_is_over() {
    let server = Server::start().await;
    let peer = Peer::connect(&server).await;
    let (session, mut attached) = peer.join(wish("a")).await;
    peer.pipe(of(&session)).await.claim("boss").await;
    peer.close(&session, false, 0).await.expect("it is ours");
    assert_eq!(attached.fenced().await, 0);
    refused(peer.write(&session, put("x")).await, Reason::SessionExpired);
    refused(peer.close(&session, false, 0).await, Reason::SessionExpired);
    let (other, _other) = peer.join(wish("b")).await;
    peer.pipe(of(&other)).await.claim("boss").await;
}

#[tokio::test]
async fn a_session_left_to_a_successor_keeps_its_claims_for_it_and_from_all_others() {
    let server = Server::start().await;
    let peer = Peer::connect(&server).await;
    let (session, mut attached) = peer.join(wish("a")).await;
    peer.pipe(of(&session)).await.claim("boss").await;
    peer.close(&session, true, 60_000)
        .await
        .expect("it is ours");
    assert_eq!(attached.fenced().await, 0);
    peer.close(&session, true, 60_000)
        .await
        .expect("it is asked again");
    assert_eq!(only(listed(&server).await).state(), SessionState::Released);
    // Whoever left it can write no more, though nobody has come yet.
    refused(
        peer.write(&session, put("boss")).await,
        Reason::SessionExpired,
    );
    refused(
        peer.attach(&session).await.map(drop),
        Reason::SessionExpired,
    );
    let (other, _other) = peer.join(wish("b")).await;
    let error = refused(peer.write(&other, put("boss")).await, Reason::NotOwner);
    assert_eq!(error.holder, "battle/a");
    let (next, _next) = peer.join(wish("a")).await;
    assert_eq!(next.session_id, session.session_id);
    assert_eq!((next.succeeded, next.claims), (true, 1));
    peer.write(&next, put("boss")).await.expect("it owns it");
    refused(peer.write(&session, put("boss")).await, Reason::Fenced);
}

#[tokio::test]
async fn a_session_that_nobody_takes_over_ends_after_its_linger() {
    let server = Server::start().await;
    let peer = Peer::connect(&server).await;
    let (session, _attached) = peer.join(wish("a")).await;
    peer.pipe(of(&session)).await.claim("boss").await;
    let (other, _other) = peer.join(wish("b")).await;
    peer.close(&session, true, 100).await.expect("it is ours");
    let mut pipe = peer.pipe(of(&other)).await;
    token(pipe.call(claim("boss", 9000, false)).await);
    assert_eq!(only(listed(&server).await).instance, "b");
}

async fn listed(server: &Server) -> Vec<SessionStatus> {
    let mut admin = AdminServiceClient::new(server.channel("admin.sock").await);
    let answered = admin.list_sessions(ListSessionsRequest::default()).await;
    answered
        .expect("the operator is answered")
        .into_inner()
        .sessions
}

fn only(mut sessions: Vec<SessionStatus>) -> SessionStatus {
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    sessions.remove(0)
}

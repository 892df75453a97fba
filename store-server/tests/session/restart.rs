//! What a start of the server changes: it does not know who is there.

use stillpoint_proto::v1::{OpenSessionRequest, Reason, attach_response::Kind as Told};
use stillpoint_store_server::config::SessionConfig;

use crate::{
    peer::{Peer, claim, of, put, refused, wish},
    server::Server,
};

fn settings(reattach_ms: u64) -> SessionConfig {
    SessionConfig {
        reattach_ms,
        ..SessionConfig::default()
    }
}

#[tokio::test]
async fn a_holder_comes_back_with_its_claims_and_its_rival_waits_for_it_and_is_refused() {
    let mut server = Server::start_with(settings(60_000)).await;
    let peer = Peer::connect(&server).await;
    let (session, mut attached) = peer.join(wish("a")).await;
    peer.pipe(of(&session)).await.claim("boss").await;
    server.stop().await;
    assert!(matches!(attached.told().await, Some(Told::ShuttingDown(_))));
    assert!(attached.told().await.is_none());
    drop(peer);
    server.start_again().await;
    let rival = Peer::connect(&server).await;
    let rivals = tokio::spawn(async move { rival.open(wish("a")).await });
    let peer = Peer::connect(&server).await;
    let _attached = peer.attach(&session).await.expect("it is ours");
    refused(rivals.await.expect("no panic"), Reason::NotOwner);
    peer.write(&session, put("boss")).await.expect("it owns it");
}

#[tokio::test]
async fn the_place_of_a_holder_that_does_not_come_back_is_free_after_a_while() {
    let mut server = Server::start_with(settings(150)).await;
    let peer = Peer::connect(&server).await;
    let (session, _attached) = peer.join(wish("a")).await;
    drop(peer);
    server.restart().await;
    let peer = Peer::connect(&server).await;
    // It does not wait for so long, though it would.
    let next = peer
        .open(OpenSessionRequest {
            wait_ms: 600_000,
            ..wish("a")
        })
        .await
        .expect("nobody came back");
    assert_eq!(next.session_id, session.session_id);
    assert!(next.fence > session.fence);
}

#[tokio::test]
async fn takeover_does_not_wait_for_a_holder_that_may_come_back() {
    let mut server = Server::start_with(settings(600_000)).await;
    let peer = Peer::connect(&server).await;
    let (session, _attached) = peer.join(wish("a")).await;
    drop(peer);
    server.restart().await;
    let peer = Peer::connect(&server).await;
    let next = peer
        .open(OpenSessionRequest {
            takeover: true,
            ..wish("a")
        })
        .await
        .expect("it takes over");
    refused(peer.attach(&session).await.map(drop), Reason::Fenced);
    peer.attach(&next).await.expect("it is ours");
}

#[tokio::test]
async fn who_waits_when_the_server_stops_is_told_to_come_again() {
    let mut server = Server::start().await;
    let peer = Peer::connect(&server).await;
    let (owner, mut owned) = peer.join(wish("a")).await;
    peer.pipe(of(&owner)).await.claim("boss").await;
    let (other, _other) = peer.join(wish("b")).await;
    let mut pipe = peer.pipe(of(&other)).await;
    pipe.send(0, [claim("boss", 600_000, false)]).await;
    assert!(matches!(owned.told().await, Some(Told::ReleaseWanted(_))));
    let rival = Peer::connect(&server).await;
    let rivals = tokio::spawn(async move {
        let wish = OpenSessionRequest {
            wait_ms: 600_000,
            ..wish("a")
        };
        rival.open(wish).await
    });
    server.stop().await;
    let error = refused(pipe.answer().await, Reason::Unavailable);
    assert!(error.retryable);
    let error = rivals.await.expect("no panic").expect_err("it stopped");
    assert!(error.retryable, "{error}");
    server.start_again().await;
    let peer = Peer::connect(&server).await;
    peer.attach(&owner).await.expect("nobody took its place");
}

//! Who gets a session.

use std::collections::HashMap;

use stillpoint_proto::v1::{OpenSessionRequest, Reason};

use crate::{
    peer::{Peer, of, put, refused, wish},
    server::{Server, soon},
};

#[tokio::test]
async fn the_successor_of_a_holder_that_is_gone_has_its_session_and_claims_at_once() {
    let server = Server::start().await;
    let peer = Peer::connect(&server).await;
    let (first, attached) = peer.join(wish("a")).await;
    assert!(!first.succeeded);
    peer.pipe(of(&first)).await.claim("boss").await;
    drop(attached);
    // How it waits for the server to notice that the stream has broken, too.
    let second = peer
        .open(OpenSessionRequest {
            wait_ms: 10_000,
            ..wish("a")
        })
        .await
        .expect("nobody is there");
    assert_eq!(second.session_id, first.session_id);
    assert!(second.fence > first.fence);
    assert_eq!((second.succeeded, second.claims), (true, 1));
    assert!(second.gap_ms < 10_000, "it did not wait for its time");
    refused(peer.write(&first, put("boss")).await, Reason::Fenced);
    refused(peer.write(&first, put("other")).await, Reason::Fenced);
    refused(peer.attach(&first).await.map(drop), Reason::Fenced);
    peer.write(&second, put("boss")).await.expect("it owns it");
}

#[tokio::test]
async fn a_holder_that_is_there_is_displaced_only_with_its_token_or_by_takeover() {
    let server = Server::start().await;
    let peer = Peer::connect(&server).await;
    let (first, mut attached) = peer.join(wish("a")).await;
    for token in [&b""[..], &[0; 16]] {
        let open = OpenSessionRequest {
            resume_token: token.to_vec().into(),
            ..wish("a")
        };
        let error = refused(peer.open(open).await, Reason::NotOwner);
        assert_eq!(error.holder, "battle/a (client of a)");
        for part in ["battle/a", "client of a", "token", "takeover = true"] {
            assert!(error.message.contains(part), "{error}");
        }
    }
    let resumed = peer
        .open(OpenSessionRequest {
            resume_token: first.resume_token.clone(),
            ..wish("a")
        })
        .await
        .expect("it has the token");
    assert_eq!(attached.fenced().await, resumed.fence);
    assert_ne!(resumed.resume_token, first.resume_token);
    assert_eq!(resumed.gap_ms, 0);

    let mut attached = peer.attach(&resumed).await.expect("it is ours");
    let taken = peer
        .open(OpenSessionRequest {
            takeover: true,
            ..wish("a")
        })
        .await
        .expect("it takes over");
    assert_eq!(attached.fenced().await, taken.fence);
    assert!(first.fence < resumed.fence && resumed.fence < taken.fence);
    refused(peer.write(&resumed, put("x")).await, Reason::Fenced);
}

#[tokio::test]
async fn one_that_opens_waits_for_a_holder_that_was_just_let_in() {
    let server = Server::start().await;
    let peer = Peer::connect(&server).await;
    // The first has not attached yet: it must not be displaced before it could.
    let first = peer.open(wish("a")).await.expect("it is new");
    let rival = Peer::connect(&server).await;
    let rivals = tokio::spawn(async move { rival.open(wish("a")).await });
    let _attached = peer.attach(&first).await.expect("it is ours");
    refused(rivals.await.expect("no panic"), Reason::NotOwner);
}

#[tokio::test]
async fn a_second_stream_of_the_same_holder_takes_the_place_of_the_first() {
    let server = Server::start().await;
    let peer = Peer::connect(&server).await;
    let (session, mut first) = peer.join(wish("a")).await;
    let _second = peer.attach(&session).await.expect("it is ours");
    assert!(first.told().await.is_none(), "its place is taken");
    drop(first);
    refused(peer.open(wish("a")).await, Reason::NotOwner);
    peer.write(&session, put("x")).await.expect("it goes on");
}

#[tokio::test]
async fn all_who_would_take_over_at_once_get_fences_of_their_own() {
    let server = Server::start().await;
    let mut opens = Vec::new();
    for _ in 0..8 {
        let peer = Peer::connect(&server).await;
        let wish = OpenSessionRequest {
            takeover: true,
            ..wish("a")
        };
        opens.push(tokio::spawn(async move { peer.open(wish).await }));
    }
    let mut fences = Vec::new();
    for open in opens {
        let opened = soon("an open", open).await.expect("no panic");
        fences.push(opened.expect("it takes over").fence);
    }
    fences.sort_unstable();
    fences.dedup();
    assert_eq!(fences.len(), 8);
}

#[tokio::test]
async fn what_no_session_can_be_opened_with_is_refused_by_name() {
    let server = Server::start().await;
    let peer = Peer::connect(&server).await;
    let labels = |count: usize, bytes: usize| -> HashMap<String, String> {
        (0..count)
            .map(|i| (format!("l{i}"), "x".repeat(bytes)))
            .collect()
    };
    let cases = [
        (
            "service",
            OpenSessionRequest {
                service: "No".into(),
                ..wish("a")
            },
        ),
        (
            "instance",
            OpenSessionRequest {
                instance: String::new(),
                ..wish("a")
            },
        ),
        (
            "33 labels",
            OpenSessionRequest {
                labels: labels(33, 1),
                ..wish("a")
            },
        ),
        (
            "label \"l0\"",
            OpenSessionRequest {
                labels: labels(1, 129),
                ..wish("a")
            },
        ),
        (
            "code version",
            OpenSessionRequest {
                code_version: "x".repeat(129),
                ..wish("a")
            },
        ),
        (
            "client name",
            OpenSessionRequest {
                client_name: "x".repeat(129),
                ..wish("a")
            },
        ),
    ];
    for (part, open) in cases {
        let error = refused(peer.open(open).await, Reason::Invalid);
        assert!(error.message.contains(part), "{error}");
    }
    let at_the_bound = OpenSessionRequest {
        labels: labels(32, 128),
        ..wish("a")
    };
    peer.open(at_the_bound)
        .await
        .expect("it is within the bounds");
}

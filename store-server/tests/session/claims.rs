//! Who gets a record that another session owns.

use std::collections::HashSet;

use stillpoint_proto::v1::{
    OpenSessionRequest, OpenSessionResponse, Reason, ReleaseWanted, attach_response::Kind as Told,
};

use crate::{
    peer::{Attached, Peer, Pipe, claim, key, of, put, refused, release, token, wish},
    server::Server,
};

/// One instance with a session, its Attach stream and a Pipeline.
struct Instance {
    session: OpenSessionResponse,
    attached: Attached,
    pipe: Pipe,
}

async fn instance(server: &Server, name: &str) -> Instance {
    let peer = Peer::connect(server).await;
    let (session, attached) = peer.join(wish(name)).await;
    let pipe = peer.pipe(of(&session)).await;
    Instance {
        session,
        attached,
        pipe,
    }
}

impl Instance {
    async fn wanted(&mut self) -> ReleaseWanted {
        match self.attached.told().await {
            Some(Told::ReleaseWanted(wanted)) => wanted,
            other => panic!("told {other:?}"),
        }
    }
}

#[tokio::test]
async fn the_owner_is_asked_to_release_and_who_waited_gets_the_record() {
    let server = Server::start().await;
    let mut a = instance(&server, "a").await;
    let mut b = instance(&server, "b").await;
    let first = a.pipe.claim("boss").await;
    b.pipe.send(0, [claim("boss", 600_000, false)]).await;
    let wanted = a.wanted().await;
    assert_eq!(wanted.key, Some(key("boss")));
    assert_eq!(
        (wanted.wanted_by.as_str(), wanted.steals),
        ("battle/b", false)
    );
    assert!(wanted.within_ms > 0 && wanted.within_ms <= 600_000);
    a.pipe.call(release("boss")).await.expect("it owned it");
    let second = token(b.pipe.answer().await);
    assert!(second > first);
    refused(a.pipe.call(put("boss")).await, Reason::NotOwner);
    b.pipe.call(put("boss")).await.expect("it owns it");
}

#[tokio::test]
async fn who_came_first_is_served_first_and_the_new_owner_is_asked_in_its_turn() {
    let server = Server::start().await;
    let mut a = instance(&server, "a").await;
    let mut b = instance(&server, "b").await;
    let mut c = instance(&server, "c").await;
    a.pipe.claim("boss").await;
    b.pipe.send(0, [claim("boss", 600_000, false)]).await;
    assert_eq!(a.wanted().await.wanted_by, "battle/b");
    c.pipe.send(0, [claim("boss", 600_000, true)]).await;
    let wanted = a.wanted().await;
    assert_eq!(
        (wanted.wanted_by.as_str(), wanted.steals),
        ("battle/c", true)
    );
    a.pipe.call(release("boss")).await.expect("it owned it");
    token(b.pipe.answer().await);
    assert_eq!(b.wanted().await.wanted_by, "battle/c");
    b.pipe.call(release("boss")).await.expect("it owned it");
    token(c.pipe.answer().await);
}

#[tokio::test]
async fn who_waits_in_vain_is_told_who_owns_the_record() {
    let server = Server::start().await;
    let mut a = instance(&server, "a").await;
    let mut b = instance(&server, "b").await;
    a.pipe.claim("boss").await;
    for wait_ms in [0, 30] {
        let error = refused(
            b.pipe.call(claim("boss", wait_ms, false)).await,
            Reason::NotOwner,
        );
        assert_eq!(
            (error.holder.as_str(), error.key),
            ("battle/a", Some(key("boss")))
        );
    }
    a.pipe.call(put("boss")).await.expect("it owns it still");
}

#[tokio::test]
async fn one_that_steals_waits_first_and_the_owner_learns_of_its_loss() {
    let server = Server::start().await;
    let mut a = instance(&server, "a").await;
    let mut b = instance(&server, "b").await;
    let first = a.pipe.claim("boss").await;
    b.pipe.send(0, [claim("boss", 100, true)]).await;
    assert!(a.wanted().await.steals);
    let second = token(b.pipe.answer().await);
    assert!(second > first);
    match a.attached.told().await {
        Some(Told::ClaimLost(lost)) => {
            assert_eq!(
                (lost.key, lost.taken_by.as_str()),
                (Some(key("boss")), "battle/b")
            );
        }
        other => panic!("told {other:?}"),
    }
    refused(a.pipe.call(put("boss")).await, Reason::NotOwner);
    token(a.pipe.call(claim("boss", 0, true)).await);
    assert!(matches!(b.attached.told().await, Some(Told::ClaimLost(_))));
}

#[tokio::test]
async fn whoever_goes_away_passes_its_turn_on() {
    let server = Server::start().await;
    let mut a = instance(&server, "a").await;
    let b = instance(&server, "b").await;
    let mut c = instance(&server, "c").await;
    a.pipe.claim("boss").await;
    b.pipe.send(0, [claim("boss", 600_000, false)]).await;
    a.wanted().await;
    c.pipe.send(0, [claim("boss", 600_000, false)]).await;
    a.wanted().await;
    drop(b.pipe);
    a.pipe.call(release("boss")).await.expect("it owned it");
    // Should the server not have noticed yet that b's pipeline is gone, b gets the record, and gives it back by its end.
    Peer::connect(&server)
        .await
        .close(&b.session, false, 0)
        .await
        .expect("it is ours");
    token(c.pipe.answer().await);
}

#[tokio::test]
async fn an_owner_that_comes_back_is_asked_again() {
    let server = Server::start().await;
    let mut a = instance(&server, "a").await;
    let b = instance(&server, "b").await;
    a.pipe.claim("boss").await;
    b.pipe.send(0, [claim("boss", 600_000, false)]).await;
    a.wanted().await;
    let peer = Peer::connect(&server).await;
    a.attached = peer.attach(&a.session).await.expect("it is ours");
    assert_eq!(a.wanted().await.wanted_by, "battle/b");
    // Its successor is, too.
    drop(a.attached);
    let takeover = OpenSessionRequest {
        takeover: true,
        ..wish("a")
    };
    (a.session, a.attached) = peer.join(takeover).await;
    assert_eq!(a.wanted().await.wanted_by, "battle/b");
}

#[tokio::test]
async fn what_follows_a_waiting_claim_in_its_lane_waits_with_it() {
    let server = Server::start().await;
    let mut a = instance(&server, "a").await;
    let mut b = instance(&server, "b").await;
    a.pipe.claim("boss").await;
    let first = b
        .pipe
        .send(
            7,
            [claim("boss", 600_000, false), put("boss"), release("boss")],
        )
        .await;
    a.wanted().await;
    // Another lane does not wait.
    b.pipe.send(8, [put("other")]).await;
    let (other, answer) = b.pipe.answers().await.remove(0);
    assert_eq!(other, first + 3);
    answer.expect("it is nobody's");
    a.pipe.call(release("boss")).await.expect("it owned it");
    let mut answers = Vec::new();
    while answers.len() < 3 {
        answers.extend(b.pipe.answers().await);
    }
    for (i, (id, answer)) in answers.into_iter().enumerate() {
        assert_eq!(id, first + i as u64);
        answer.expect("it owned the record by then");
    }
}

#[tokio::test]
async fn a_session_that_gets_the_record_by_another_claim_waits_no_more() {
    let server = Server::start().await;
    let mut a = instance(&server, "a").await;
    let mut b = instance(&server, "b").await;
    a.pipe.claim("boss").await;
    b.pipe.send(0, [claim("boss", 600_000, false)]).await;
    a.wanted().await;
    let peer = Peer::connect(&server).await;
    peer.write(&b.session, claim("boss", 0, true))
        .await
        .expect("it steals");
    token(b.pipe.answer().await);
}

/// More claims than messages may wait for a holder.
const MANY: usize = 20_000;

#[tokio::test]
async fn an_owner_that_comes_back_is_told_of_all_who_wait_however_many_they_are() {
    let server = Server::start().await;
    let mut a = instance(&server, "a").await;
    let b = instance(&server, "b").await;
    let names: Vec<_> = (0..MANY).map(|n| format!("boss{n}")).collect();
    for some in names.chunks(1000) {
        a.pipe
            .send(0, some.iter().map(|name| claim(name, 0, false)))
            .await;
        let mut answered = 0;
        while answered < some.len() {
            for (_, answer) in a.pipe.answers().await {
                answer.expect("nobody owns it");
                answered += 1;
            }
        }
    }
    let mut waiting = Vec::new();
    for some in names.chunks(4000) {
        let pipe = Peer::connect(&server).await.pipe(of(&b.session)).await;
        for (lane, name) in (1..).zip(some) {
            pipe.send(lane, [claim(name, 600_000, false)]).await;
        }
        waiting.push(pipe);
    }
    for _ in 0..MANY {
        a.wanted().await;
    }
    a.attached = Peer::connect(&server)
        .await
        .attach(&a.session)
        .await
        .expect("it is ours");
    let mut wanted = HashSet::new();
    for _ in 0..MANY {
        wanted.insert(a.wanted().await.key.expect("it names the record"));
    }
    assert_eq!(wanted.len(), MANY, "each once");
}

//! Who is told that a timer fires.

use std::time::{SystemTime, UNIX_EPOCH};

use stillpoint_proto::v1::{
    FinishTimerOp, MissedFirings, Op, OpenSessionRequest, OpenSessionResponse, Reason, SetTimerOp,
    TimerFired, attach_response::Kind as Told, op::Kind, op_result,
};

use crate::{
    peer::{Attached, Peer, claim, key, of, op, refused, release, wish},
    server::Server,
};

fn set(name: &str) -> SetTimerOp {
    SetTimerOp {
        service: "battle".into(),
        name: name.to_owned().into(),
        delay_ms: 1,
        payload: vec![0x2a].into(),
        ..SetTimerOp::default()
    }
}

fn finish(fired: &TimerFired) -> Op {
    op(Kind::FinishTimer(FinishTimerOp {
        service: fired.service.clone(),
        name: fired.name.clone(),
        due_ms: fired.due_ms,
    }))
}

async fn set_up(peer: &Peer, timers: impl IntoIterator<Item = SetTimerOp>) {
    let mut pipe = peer.pipe(crate::peer::context("", 0)).await;
    for timer in timers {
        pipe.call(op(Kind::SetTimer(timer)))
            .await
            .expect("it is set");
    }
}

async fn fired(attached: &mut Attached) -> TimerFired {
    match attached.told().await {
        Some(Told::TimerFired(fired)) => fired,
        other => panic!("told {other:?}"),
    }
}

async fn consume(peer: &Peer, session: &OpenSessionResponse, fired: &TimerFired) -> u64 {
    match peer.write(session, finish(fired)).await {
        Ok(op_result::Kind::FinishTimer(done)) => done.next_due_ms,
        other => panic!("not consumed: {other:?}"),
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_millis() as u64
}

#[tokio::test]
async fn a_timer_fires_until_it_is_consumed_and_then_no_more() {
    let server = Server::start().await;
    let peer = Peer::connect(&server).await;
    let (session, mut attached) = peer.join(wish("a")).await;
    let periodic = SetTimerOp {
        period_ms: 20,
        ..set("tick")
    };
    set_up(&peer, [periodic]).await;
    let first = fired(&mut attached).await;
    assert_eq!(
        (first.service.as_str(), &first.name[..]),
        ("battle", &b"tick"[..])
    );
    assert_eq!(
        (&first.payload[..], first.owner.clone()),
        (&[0x2a][..], None)
    );
    assert!(first.count >= 1 && first.due_ms <= now_ms());
    let next = consume(&peer, &session, &first).await;
    assert!(next > first.due_ms);
    refused(
        peer.write(&session, finish(&first)).await,
        Reason::VersionConflict,
    );
    assert_eq!(fired(&mut attached).await.due_ms, next);
}

#[tokio::test]
async fn a_firing_that_was_not_consumed_fires_at_the_successor() {
    let server = Server::start().await;
    let peer = Peer::connect(&server).await;
    let (_, mut attached) = peer.join(wish("a")).await;
    set_up(&peer, [set("boss")]).await;
    let first = fired(&mut attached).await;
    let takeover = OpenSessionRequest {
        takeover: true,
        ..wish("a")
    };
    let (session, mut attached) = peer.join(takeover).await;
    assert_eq!(fired(&mut attached).await, first);
    assert_eq!(consume(&peer, &session, &first).await, 0);
}

#[tokio::test]
async fn a_firing_that_was_not_consumed_fires_at_another_instance_once_its_own_is_gone() {
    let server = Server::start().await;
    let peer = Peer::connect(&server).await;
    let (_a, mut first) = peer.join(wish("a")).await;
    let (_b, mut second) = peer.join(wish("b")).await;
    set_up(&peer, [set("boss")]).await;
    let told = fired(&mut first).await;
    drop(first);
    assert_eq!(fired(&mut second).await, told);
}

#[tokio::test]
async fn a_timer_survives_a_restart_and_fires_for_who_comes_then() {
    let mut server = Server::start().await;
    let peer = Peer::connect(&server).await;
    set_up(&peer, [set("boss")]).await;
    drop(peer);
    server.restart().await;
    let peer = Peer::connect(&server).await;
    let (_session, mut attached) = peer.join(wish("a")).await;
    assert_eq!(&fired(&mut attached).await.name[..], b"boss");
}

#[tokio::test]
async fn a_timer_of_a_record_fires_at_its_owner_and_moves_with_it() {
    let server = Server::start().await;
    let peer = Peer::connect(&server).await;
    let (a, mut first) = peer.join(wish("a")).await;
    let (b, mut second) = peer.join(wish("b")).await;
    let mut pipe = peer.pipe(of(&b)).await;
    pipe.claim("zone").await;
    let of_zone = SetTimerOp {
        owner: Some(key("zone")),
        ..set("boss")
    };
    set_up(&peer, [of_zone]).await;
    let told = fired(&mut second).await;
    assert_eq!(told.owner, Some(key("zone")));
    let stolen = peer.write(&a, claim("zone", 0, true)).await;
    stolen.expect("it steals");
    assert_eq!(fired(&mut first).await, told);
    refused(peer.write(&b, finish(&told)).await, Reason::NotOwner);
    // While nobody owns it, it fires at nobody.
    peer.write(&a, release("zone")).await.expect("it owned it");
    set_up(&peer, [set("fence")]).await;
    assert_eq!(&fired(&mut first).await.name[..], b"fence");
    pipe.claim("zone").await;
    assert!(matches!(second.told().await, Some(Told::ClaimLost(_))));
    assert_eq!(fired(&mut second).await, told);
}

#[tokio::test]
async fn missed_firings_that_are_to_be_dropped_are_not_told() {
    let server = Server::start().await;
    let peer = Peer::connect(&server).await;
    let period_ms = 300;
    let timers = ["free", "owned"].map(|name| SetTimerOp {
        period_ms,
        missed: MissedFirings::Skip.into(),
        owner: (name == "owned").then(|| key("zone")),
        delay_ms: 0,
        due_ms: now_ms() - 10 * period_ms,
        ..set(name)
    });
    set_up(&peer, timers).await;
    let session = peer.open(wish("a")).await.expect("it is new");
    peer.pipe(of(&session)).await.claim("zone").await;
    let since_ms = now_ms();
    let mut attached = peer.attach(&session).await.expect("it is ours");
    for _ in 0..2 {
        let told = fired(&mut attached).await;
        assert!(told.due_ms + period_ms > since_ms, "{told:?}");
        assert_eq!(told.count, 1);
    }
}

#[tokio::test]
async fn an_instance_that_consumes_nothing_is_not_told_of_all() {
    let server = Server::start().await;
    let peer = Peer::connect(&server).await;
    let (_a, mut first) = peer.join(wish("a")).await;
    let (_b, mut second) = peer.join(wish("b")).await;
    let many = 300;
    set_up(&peer, (0..many).map(|i| set(&format!("t{i}")))).await;
    for _ in 0..256 {
        fired(&mut first).await;
    }
    for _ in 256..many {
        fired(&mut second).await;
    }
}

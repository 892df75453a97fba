//! Who owns a record that is brought back.

use stillpoint_proto::v1::{
    OpenSessionRequest, Reason, RestoreRecordsRequest, attach_response::Kind as Told,
};

use crate::{
    operator::{World, all, label, name_of, one, put, texts},
    peer::{claim, of, refused, release, token, wish},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_loses_it_is_told_and_can_claim_it_again() {
    let mut world = World::new().await;
    world.does(put("42", "1")).await;
    world.mark("then").await;
    let (session, mut attached) = world.peer.join(wish("battle-3")).await;
    let mut owner = world.peer.pipe(of(&session)).await;
    let first = owner.claim("42").await;
    owner.claim("43").await;
    owner.call(put("42", "2")).await.unwrap();

    let rehearsal = RestoreRecordsRequest {
        dry_run: true,
        ..one("42", label("then"))
    };
    let would = world.restore(rehearsal).await.unwrap();
    let named = would.changes[0].owner.clone().unwrap();
    assert_eq!(
        (&*named.service, &*named.instance, named.token),
        ("battle", "battle-3", first)
    );
    owner.call(put("42", "3")).await.unwrap();

    let restored = world.restore(all(label("then"))).await.unwrap();
    assert_eq!((restored.end.changed, restored.end.owned), (1, 1));
    assert_eq!(restored.changes[0].owner, Some(named));
    let lost = attached.told().await;
    let Some(Told::ClaimLost(lost)) = lost else {
        panic!("told {lost:?}");
    };
    assert_eq!(
        (lost.key, &*lost.taken_by),
        (Some(name_of("doc", "42")), "@restore")
    );

    // What he had sent before he heard of it.
    let late = refused(owner.call(put("42", "4")).await, Reason::NotOwner);
    assert_eq!(late.holder, "@restore");
    owner.call(put("43", "1")).await.unwrap();
    let second = token(owner.call(claim("42", 0, false)).await);
    assert!(second > first, "{second}");
    owner.call(put("42", "5")).await.unwrap();
    let texts = texts(&world.records("doc").await);
    assert_eq!(texts[0], ("42".to_owned(), "5".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_owner_sends_late_is_refused_over_a_restart_and_not_that_of_others() {
    let mut world = World::new().await;
    world.does(put("42", "1")).await;
    world.mark("then").await;
    let (session, _attached) = world.peer.join(wish("battle-3")).await;
    let mut owner = world.peer.pipe(of(&session)).await;
    owner.claim("42").await;
    owner.call(put("42", "2")).await.unwrap();
    world.restore(one("42", label("then"))).await.unwrap();

    world.restart().await;
    let late = world.peer.write(&session, put("42", "3")).await;
    refused(late, Reason::NotOwner);
    world.does(put("42", "4")).await;
    // A successor has sent nothing as the owner.
    let takeover = OpenSessionRequest {
        takeover: true,
        ..wish("battle-3")
    };
    let successor = world.peer.open(takeover).await.unwrap();
    world.peer.write(&successor, put("42", "5")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_the_record_gets_it() {
    let mut world = World::new().await;
    world.does(put("42", "1")).await;
    world.mark("then").await;
    let (owner, _attached) = world.peer.join(wish("battle-3")).await;
    let mut owner = world.peer.pipe(of(&owner)).await;
    owner.claim("42").await;
    owner.call(put("42", "2")).await.unwrap();
    let (other, _attached) = world.peer.join(wish("battle-4")).await;
    let mut other = world.peer.pipe(of(&other)).await;
    other.send(0, [claim("42", 60_000, false)]).await;
    world.restore(one("42", label("then"))).await.unwrap();
    token(other.answer().await);
    other.call(put("42", "3")).await.unwrap();
    refused(owner.call(put("42", "4")).await, Reason::NotOwner);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_was_not_there_is_told_when_it_comes_back() {
    let mut world = World::new().await;
    for key in ["42", "43", "44"] {
        world.does(put(key, "1")).await;
    }
    world.mark("then").await;
    let (session, attached) = world.peer.join(wish("battle-3")).await;
    let mut owner = world.peer.pipe(of(&session)).await;
    for key in ["42", "43", "44"] {
        owner.claim(key).await;
    }
    owner.call(put("42", "2")).await.unwrap();
    owner.call(put("43", "2")).await.unwrap();
    drop(attached);
    world.restore(all(label("then"))).await.unwrap();

    let mut attached = world.peer.attach(&session).await.unwrap();
    let mut lost = Vec::new();
    for _ in 0..2 {
        let Some(Told::ClaimLost(told)) = attached.told().await else {
            panic!("told something else");
        };
        assert_eq!(told.taken_by, "@restore");
        lost.push(told.key.unwrap());
    }
    lost.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(lost, [name_of("doc", "42"), name_of("doc", "43")]);

    // What it claimed again is its own: that is not told.
    owner.claim("42").await;
    owner.claim("43").await;
    drop(attached);
    let mut attached = world.peer.attach(&session).await.unwrap();
    let (other, _attached) = world.peer.join(wish("battle-4")).await;
    let mut other = world.peer.pipe(of(&other)).await;
    token(other.call(claim("44", 0, true)).await);
    // So this is the first that it is told, but for what it is asked for.
    let told = loop {
        match attached.told().await {
            Some(Told::ReleaseWanted(_)) => {}
            told => break told,
        }
    };
    let Some(Told::ClaimLost(told)) = told else {
        panic!("told {told:?}");
    };
    assert_eq!(
        (told.key, &*told.taken_by),
        (Some(name_of("doc", "44")), "battle/battle-4")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_owner_sends_late_is_refused_after_another_had_the_record() {
    let mut world = World::new().await;
    world.does(put("42", "1")).await;
    world.mark("then").await;
    let (session, _attached) = world.peer.join(wish("battle-3")).await;
    let mut owner = world.peer.pipe(of(&session)).await;
    owner.claim("42").await;
    owner.call(put("42", "2")).await.unwrap();
    world.restore(one("42", label("then"))).await.unwrap();

    let (other, mut told) = world.peer.join(wish("battle-4")).await;
    let mut other = world.peer.pipe(of(&other)).await;
    other.claim("42").await;
    other.call(put("42", "3")).await.unwrap();
    let late = refused(owner.call(put("42", "4")).await, Reason::NotOwner);
    assert_eq!(late.holder, "battle/battle-4");
    other.call(release("42")).await.unwrap();
    let late = refused(owner.call(put("42", "5")).await, Reason::NotOwner);
    assert_eq!(late.holder, "@restore");

    // He who released it has lost nothing: the first that he is told is this.
    other.claim("43").await;
    let (third, _attached) = world.peer.join(wish("battle-5")).await;
    let mut third = world.peer.pipe(of(&third)).await;
    token(third.call(claim("43", 0, true)).await);
    let Some(Told::ClaimLost(lost)) = told.told().await else {
        panic!("told something else");
    };
    assert_eq!(
        (lost.key, &*lost.taken_by),
        (Some(name_of("doc", "43")), "battle/battle-5")
    );

    world.restart().await;
    let late = world.peer.write(&session, put("42", "6")).await;
    assert_eq!(refused(late, Reason::NotOwner).holder, "@restore");
    // Once he has claimed it again he knows, and it is over.
    let mut owner = world.peer.pipe(of(&session)).await;
    owner.claim("42").await;
    owner.call(release("42")).await.unwrap();
    owner.call(put("42", "7")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_lost_it_one_after_the_other_are_refused_until_they_are_gone() {
    let mut world = World::new().await;
    world.does(put("42", "1")).await;
    world.mark("then").await;
    let mut owners = Vec::new();
    for (instance, text) in [("battle-3", "2"), ("battle-4", "3"), ("battle-5", "4")] {
        let (session, attached) = world.peer.join(wish(instance)).await;
        let mut owner = world.peer.pipe(of(&session)).await;
        owner.claim("42").await;
        owner.call(put("42", text)).await.unwrap();
        if instance != "battle-5" {
            world.restore(one("42", label("then"))).await.unwrap();
        }
        owners.push((session, owner, attached));
    }
    // The last one's session is over, and with it its claim, but not what is known of the others.
    let (last, ..) = owners.pop().unwrap();
    world.peer.close(&last, false, 0).await.unwrap();
    for (_, owner, _) in &mut owners {
        let late = refused(owner.call(put("42", "5")).await, Reason::NotOwner);
        assert_eq!(late.holder, "@restore");
    }
    let (second, ..) = owners.pop().unwrap();
    world.peer.close(&second, false, 0).await.unwrap();
    let (first, owner, _attached) = &mut owners[0];
    refused(owner.call(put("42", "5")).await, Reason::NotOwner);
    world.does(put("42", "6")).await;

    let takeover = OpenSessionRequest {
        takeover: true,
        ..wish("battle-3")
    };
    let successor = world.peer.open(takeover).await.unwrap();
    assert_eq!(successor.session_id, first.session_id);
    world.peer.write(&successor, put("42", "7")).await.unwrap();
}

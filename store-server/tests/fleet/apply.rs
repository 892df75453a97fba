//! All processes go over to the new generation, or none, and what is told of it is true.

use stillpoint_proto::v1::{
    ActionOutcome, Phase, ProcessState, manage_response::Kind, reload_fleet::Step,
};

use crate::{
    fake::{Act, FILES},
    fleet::{
        AT_COMMIT, AT_PREPARE, AT_STATUS, LONG_MS, OLD, SHORT_MS, World, but, last_word, until,
    },
};

#[tokio::test]
async fn all_processes_go_over_in_phases() {
    let world = World::start(&[vec![], vec![], vec![]]).await;
    let mut running = world.begin(Step::Apply, LONG_MS).await;
    let mut phases = Vec::new();
    let summary = loop {
        match running.next().await {
            Kind::Phase(begun) => phases.push((begun.phase(), begun.processes)),
            Kind::Summary(summary) => break summary,
            _ => {}
        }
    };
    world.check(&summary);
    assert_eq!(summary.outcome(), ActionOutcome::Ok, "{summary:?}");
    assert_eq!(summary.message, "3 processes of battle run program 9");
    assert_eq!(
        world.running().into_values().collect::<Vec<_>>(),
        [FILES; 3]
    );
    let expected = [Phase::Status, Phase::Prepare, Phase::Commit, Phase::Status];
    assert_eq!(phases, expected.map(|phase| (phase, 3)));
}

#[tokio::test]
async fn one_that_cannot_prepare_keeps_all_where_they_are_and_says_why() {
    let world = World::start(&[vec![], but(AT_PREPARE, Act::Fail), vec![]]).await;
    let summary = world.apply(LONG_MS).await;
    assert_eq!(summary.outcome(), ActionOutcome::RolledBack, "{summary:?}");
    let why = last_word(&summary, "b", Phase::Prepare, ProcessState::Error);
    assert_eq!(why, "it was told to fail");
    assert!(
        summary.message.contains("battle/b: it was told to fail"),
        "{}",
        summary.message
    );
    assert_eq!(world.running().into_values().collect::<Vec<_>>(), [OLD; 3]);
    assert_eq!(world.last_outcome().await, ActionOutcome::RolledBack);
}

#[tokio::test]
async fn a_last_word_is_told_once_however_it_ends() {
    let world = World::start(&[vec![], but(AT_COMMIT, Act::Fail)]).await;
    let mut running = world.begin(Step::Apply, LONG_MS).await;
    let mut told = Vec::new();
    let summary = loop {
        match running.next().await {
            Kind::Update(update) => {
                let process = update.process.clone().expect("it names the process");
                told.push((process.instance, update.phase(), update.state()));
            }
            Kind::Summary(summary) => break summary,
            _ => {}
        }
    };
    let failed = ("b".to_owned(), Phase::Commit, ProcessState::Error);
    let times = told.iter().filter(|word| **word == failed).count();
    assert_eq!(times, 1, "{told:?}");
    // What comes after it is not what the operator has to read.
    assert_ne!(told.last(), Some(&failed));
    last_word(&summary, "b", Phase::Commit, ProcessState::Error);
}

#[tokio::test]
async fn one_without_the_kit_keeps_all_where_they_are_and_is_named() {
    let world = World::start(&[vec![], but(AT_STATUS, Act::NotKnow)]).await;
    let summary = world.apply(LONG_MS).await;
    assert_eq!(summary.outcome(), ActionOutcome::RolledBack, "{summary:?}");
    assert!(
        summary
            .message
            .contains("battle/b: this process does not use"),
        "{}",
        summary.message
    );
}

#[tokio::test]
async fn one_that_hangs_in_the_preparation_keeps_all_where_they_are() {
    let world = World::start(&[vec![], but(AT_PREPARE, Act::Hang)]).await;
    let summary = world.apply(SHORT_MS).await;
    assert_eq!(summary.outcome(), ActionOutcome::RolledBack, "{summary:?}");
    last_word(&summary, "b", Phase::Prepare, ProcessState::Timeout);
}

#[tokio::test]
async fn one_that_fails_in_the_commit_takes_all_back() {
    let world = World::start(&[vec![], but(AT_COMMIT, Act::Fail), vec![]]).await;
    let summary = world.apply(LONG_MS).await;
    assert_eq!(summary.outcome(), ActionOutcome::RolledBack, "{summary:?}");
    last_word(&summary, "b", Phase::Commit, ProcessState::Error);
    assert_eq!(world.running().into_values().collect::<Vec<_>>(), [OLD; 3]);
}

#[tokio::test]
async fn one_that_hangs_in_the_commit_is_told_and_ends_where_it_began() {
    let world = World::start(&[vec![], but(AT_COMMIT, Act::Hang)]).await;
    let summary = world.apply(SHORT_MS).await;
    assert_eq!(summary.outcome(), ActionOutcome::Mixed, "{summary:?}");
    assert!(summary.message.contains("battle/b"), "{}", summary.message);
    last_word(&summary, "b", Phase::Commit, ProcessState::Timeout);

    // What it was asked meanwhile stands in its queue: the next status comes after it.
    world.fake("b").wake();
    let summary = world.begin(Step::Status, LONG_MS).await.end().await;
    assert_eq!(summary.outcome(), ActionOutcome::Ok, "{summary:?}");
    assert_eq!(world.running().into_values().collect::<Vec<_>>(), [OLD; 2]);
}

#[tokio::test]
async fn one_that_dies_is_told_at_every_phase() {
    for (at, act, outcome) in [
        (AT_STATUS, Act::Die, ActionOutcome::RolledBack),
        (AT_PREPARE, Act::Die, ActionOutcome::RolledBack),
        // Its session is kept for a while: it may be back with the one program or the other.
        (AT_COMMIT, Act::Die, ActionOutcome::Mixed),
        (AT_COMMIT, Act::End, ActionOutcome::Failed),
    ] {
        let world = World::start(&[vec![], but(at, act), vec![]]).await;
        let summary = world.apply(SHORT_MS).await;
        assert_eq!(summary.outcome(), outcome, "{at} {act:?}: {summary:?}");
        assert!(summary.message.contains("battle/b"), "{}", summary.message);
        let phase = [Phase::Status, Phase::Prepare, Phase::Commit][at];
        last_word(&summary, "b", phase, ProcessState::Gone);
    }
}

#[tokio::test]
async fn one_that_is_replaced_in_the_commit_holds_nobody_up() {
    let world = World::start(&[vec![], but(AT_COMMIT, Act::BeReplaced)]).await;
    let summary = world.apply(LONG_MS).await;
    assert_eq!(summary.outcome(), ActionOutcome::Ok, "{summary:?}");
    last_word(&summary, "b", Phase::Status, ProcessState::Ok);
    assert_eq!(
        world.running().into_values().collect::<Vec<_>>(),
        [FILES; 2]
    );
}

#[tokio::test]
async fn one_that_is_replaced_before_the_others_go_back_is_another_program_and_is_told() {
    let scripts = [but(AT_COMMIT, Act::BeReplaced), but(AT_COMMIT, Act::Fail)];
    let world = World::start(&scripts).await;
    let summary = world.apply(LONG_MS).await;
    assert_eq!(summary.outcome(), ActionOutcome::Mixed, "{summary:?}");
    for part in ["1 in battle/b", "9 in battle/a"] {
        assert!(summary.message.contains(part), "{}", summary.message);
    }
}

#[tokio::test]
async fn one_whose_connection_is_back_with_the_old_program_catches_up() {
    let world = World::start(&[vec![], but(AT_COMMIT, Act::MissIt)]).await;
    let summary = world.apply(LONG_MS).await;
    assert_eq!(summary.outcome(), ActionOutcome::Ok, "{summary:?}");
    assert_eq!(
        world.running().into_values().collect::<Vec<_>>(),
        [FILES; 2]
    );
}

#[tokio::test]
async fn one_that_comes_during_the_reload_catches_up() {
    for at in [AT_PREPARE, AT_COMMIT] {
        let world = World::start(&[vec![], but(at, Act::LetOneIn)]).await;
        let summary = world.apply(LONG_MS).await;
        assert_eq!(summary.outcome(), ActionOutcome::Ok, "{summary:?}");
        assert_eq!(
            world.running().into_values().collect::<Vec<_>>(),
            [FILES; 3]
        );
    }
}

#[tokio::test]
async fn a_caller_that_leaves_before_the_commit_takes_it_back() {
    let world = World::start(&[vec![], but(AT_PREPARE, Act::Hang)]).await;
    let mut running = world.begin(Step::Apply, LONG_MS).await;
    until(&mut running, Phase::Prepare).await;
    drop(running);
    world.unheard().await;
    world.fake("b").wake();
    assert_eq!(world.last_outcome().await, ActionOutcome::RolledBack);
    assert_eq!(world.running().into_values().collect::<Vec<_>>(), [OLD; 2]);
}

#[tokio::test]
async fn a_caller_that_leaves_in_the_commit_does_not_stop_it() {
    let world = World::start(&[vec![], but(AT_COMMIT, Act::Hang)]).await;
    let mut running = world.begin(Step::Apply, LONG_MS).await;
    until(&mut running, Phase::Commit).await;
    drop(running);
    world.unheard().await;
    world.fake("b").wake();
    assert_eq!(world.last_outcome().await, ActionOutcome::Ok);
    assert_eq!(
        world.running().into_values().collect::<Vec<_>>(),
        [FILES; 2]
    );
}

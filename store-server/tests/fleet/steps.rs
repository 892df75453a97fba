//! Plan, status, rollback.

use std::sync::Arc;

use stillpoint_proto::v1::{ActionOutcome, Phase, ProcessState, reload_fleet::Step};

use crate::{
    fake::{Act, FILES},
    fleet::{AT_STATUS, LONG_MS, OLD, World, but, last_word},
    server::Server,
};

#[tokio::test]
async fn a_plan_changes_nothing_and_says_how_many_would() {
    let server = Arc::new(Server::start().await);
    let world = World::start_on(&server, "battle", &[(OLD, vec![]), (FILES, vec![])]).await;
    let summary = world.begin(Step::Plan, LONG_MS).await.end().await;
    assert_eq!(summary.outcome(), ActionOutcome::Ok, "{summary:?}");
    assert_eq!(summary.message, "1 of 2 processes would change");
    last_word(&summary, "a", Phase::Plan, ProcessState::Ok);
    assert_eq!(
        world.running().into_values().collect::<Vec<_>>(),
        [OLD, FILES]
    );
}

#[tokio::test]
async fn the_status_of_different_programs_is_mixed_and_names_them() {
    let server = Arc::new(Server::start().await);
    let world = World::start_on(&server, "battle", &[(OLD, vec![]), (FILES, vec![])]).await;
    let summary = world.begin(Step::Status, LONG_MS).await.end().await;
    assert_eq!(summary.outcome(), ActionOutcome::Mixed, "{summary:?}");
    let expected = "battle runs different programs: 1 in battle/a; 9 in battle/b";
    assert_eq!(summary.message, expected);

    // A reload brings them together.
    let summary = world.apply(LONG_MS).await;
    assert_eq!(summary.outcome(), ActionOutcome::Ok, "{summary:?}");
    let summary = world.begin(Step::Status, LONG_MS).await.end().await;
    assert_eq!(summary.outcome(), ActionOutcome::Ok, "{summary:?}");
    assert_eq!(summary.message, "2 processes of battle run program 9");
    for _ in 0..2 {
        let summary = world.apply(LONG_MS).await;
        assert_eq!(summary.outcome(), ActionOutcome::Ok, "{summary:?}");
        assert_eq!(summary.message, "nothing to reload");
    }
}

#[tokio::test]
async fn programs_of_ten_thousand_modules_are_compared_by_each() {
    let server = Arc::new(Server::start().await);
    let world = World::start_on(&server, "battle", &[(OLD, vec![]), (FILES, vec![])]).await;
    world.name_units(10_000);
    let summary = world.begin(Step::Status, LONG_MS).await.end().await;
    assert_eq!(summary.outcome(), ActionOutcome::Mixed, "{summary:?}");
    let expected = "battle runs different programs: 1 in battle/a; 9 in battle/b (they differ in game.quests.unit0)";
    assert_eq!(summary.message, expected);
    let summary = world.apply(LONG_MS).await;
    assert_eq!(summary.message, "2 processes of battle run program 9");
}

#[tokio::test]
async fn a_rollback_takes_all_to_the_generation_before() {
    let world = World::start(&[vec![], vec![]]).await;
    world.apply(LONG_MS).await;
    let summary = world.begin(Step::Rollback, LONG_MS).await.end().await;
    assert_eq!(summary.outcome(), ActionOutcome::Ok, "{summary:?}");
    assert_eq!(world.running().into_values().collect::<Vec<_>>(), [OLD; 2]);
}

#[tokio::test]
async fn a_rollback_is_not_begun_if_one_cannot_take_part() {
    let world = World::start(&[vec![], vec![]]).await;
    world.apply(LONG_MS).await;
    let mut script = vec![Act::Do; 4];
    script.push(Act::Fail);
    let other = World::start_on(&world.server, "mail", &[(OLD, script), (OLD, vec![])]).await;
    other.apply(LONG_MS).await;
    let summary = other.begin(Step::Rollback, LONG_MS).await.end().await;
    assert_eq!(summary.outcome(), ActionOutcome::RolledBack, "{summary:?}");
    assert_eq!(
        other.running().into_values().collect::<Vec<_>>(),
        [FILES; 2]
    );
    assert_eq!(
        world.running().into_values().collect::<Vec<_>>(),
        [FILES; 2]
    );
}

#[tokio::test]
async fn a_process_that_tells_no_program_makes_a_status_fail() {
    let world = World::start(&[vec![], but(AT_STATUS, Act::NotKnow)]).await;
    let summary = world.begin(Step::Status, LONG_MS).await.end().await;
    assert_eq!(summary.outcome(), ActionOutcome::Failed, "{summary:?}");
    assert!(summary.message.contains("battle/b"), "{}", summary.message);
}

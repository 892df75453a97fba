//! Scripts get into the store, or are refused with all that is wrong.

use stillpoint_proto::v1::{ListScriptsRequest, MigrationScript, Reason};

use crate::{
    peer::{NAMESPACE, refused},
    world::{COINS, LEVEL, World, all, back_to, script},
};

async fn list(world: &mut World) -> Vec<MigrationScript> {
    let request = ListScriptsRequest { with_text: true };
    let listed = world.admin.list_scripts(request).await.unwrap();
    listed.into_inner().scripts
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_are_kept_with_who_published_them_and_those_that_are_known_are_left_alone() {
    let mut world = World::start().await;
    let first = world.publish(&[COINS]).await.unwrap();
    assert_eq!((first.published.len(), first.known), (1, 0));
    assert_eq!(first.published[0].text, "", "texts are not sent back");
    let second = world.publish(&[COINS, LEVEL]).await.unwrap();
    assert_eq!((second.published.len(), second.known), (1, 1));
    let mut world = world.restart().await;
    let listed = list(&mut world).await;
    let texts: Vec<_> = listed.iter().map(|script| &*script.text).collect();
    assert_eq!(texts, [COINS, LEVEL]);
    for script in &listed {
        assert_eq!((&*script.actor, script.applied), ("ann", false));
        assert_eq!(script.hash.len(), 32);
        assert!(script.published_ms > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_wrong_is_told_at_once_and_nothing_is_kept() {
    let mut world = World::start().await;
    let mut nameless = script(NAMESPACE, 1, COINS);
    nameless.name = "Has Blanks".into();
    let error = refused(world.publish_all(vec![nameless]).await, Reason::Invalid);
    assert!(
        error
            .message
            .contains("world/player, number 1: invalid name"),
        "{error}"
    );

    let scripts = vec![
        script(NAMESPACE, 1, "return {"),
        script(NAMESPACE, 2, "return {}"),
        script("other", 2, COINS),
    ];
    let error = refused(world.publish_all(scripts).await, Reason::Invalid);
    let lines: Vec<_> = error.message.lines().collect();
    assert_eq!(lines.len(), 3, "{error}");
    for path in [
        "world/player/0001_step.lua",
        "world/player/0002_step.lua",
        "other/player/0002",
    ] {
        assert!(
            lines.iter().any(|line| line.starts_with(path)),
            "{path}: {error}"
        );
    }
    assert_eq!(list(&mut world).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_may_be_replaced_until_it_is_applied_and_never_again() {
    let mut world = World::with_players(3).await;
    let other = COINS.replace("\"no gold\"", "\"poor\"");
    world.publish(&[COINS]).await.unwrap();
    assert_eq!(world.publish(&[&other]).await.unwrap().published.len(), 1);
    assert_eq!(world.publish(&[COINS]).await.unwrap().published.len(), 1);
    world.apply(all()).await.unwrap();
    world.through().await;
    assert!(list(&mut world).await[0].applied);

    let error = refused(world.publish(&[&other]).await, Reason::Invalid);
    assert!(
        error.message.contains("world/player/0001_step.lua"),
        "{error}"
    );
    assert!(
        error.message.contains("changed after it was applied"),
        "{error}"
    );
    assert_eq!(world.publish(&[COINS]).await.unwrap().known, 1);

    // Quarantine, log and backups may have values of version 1 for ever.
    world.roll_back(back_to(0, false)).await.unwrap();
    world.through().await;
    let error = refused(world.publish(&[&other]).await, Reason::Invalid);
    assert!(error.message.contains("use the next number"), "{error}");
    assert!(list(&mut world).await[0].applied);
    let next = world.publish(&[COINS, LEVEL]).await.unwrap();
    assert_eq!((next.published.len(), next.known), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_faults_the_first_are_told_and_the_others_counted() {
    let mut world = World::start().await;
    let bad = (1..=30).map(|number| script(NAMESPACE, number, "return {"));
    let error = refused(world.publish_all(bad.collect()).await, Reason::Invalid);
    let lines: Vec<_> = error.message.lines().collect();
    assert_eq!(lines.len(), 21, "{error}");
    assert!(lines[19].starts_with("world/player/0020_step.lua"));
    assert_eq!(lines[20], "and 10 more");
}

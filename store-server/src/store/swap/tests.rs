//! A server dies between any two steps of a swap.

use std::os::unix::fs::symlink;

use stillpoint_migrations::format::Identity;
use tempfile::TempDir;

use super::*;
use crate::store::datadir::lock_settled;

/// A store as incarnation 1, and what is to take its place as incarnation 2.
struct Room {
    room: TempDir,
    root: PathBuf,
    beside: Beside,
}

impl Room {
    fn new() -> Room {
        let room = tempfile::tempdir().unwrap();
        let root = room.path().join("data");
        let old = DataDir::open_or_create(&root).unwrap();
        fs::write(root.join("notes.txt"), "of an operator").unwrap();
        let beside = Beside::of(&root).unwrap();
        let mut identity = Identity::parse(&old.identity().to_text()).unwrap();
        identity.incarnation += 1;
        DataDir::replace(&beside.restored(), &identity).unwrap();
        Room { room, root, beside }
    }

    /// The names in the room that are not the store's.
    fn others(&self) -> Vec<String> {
        let items = fs::read_dir(self.room.path()).unwrap();
        let names = items.map(|item| item.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name != "data").collect();
        names.sort();
        names
    }

    /// Opens the store and expects the new one, with the old one beside it and nothing else.
    fn expect_new(&self, why: &str) {
        let dir = DataDir::open_or_create(&self.root).unwrap();
        assert_eq!(dir.identity().incarnation, 2, "{why}");
        let others = self.others();
        assert!(
            matches!(&others[..], [kept] if kept.starts_with("data.before-")),
            "{why}: {others:?}"
        );
        let kept = DataDir::open_existing(&self.room.path().join(&others[0])).unwrap();
        assert_eq!(kept.identity().incarnation, 1, "{why}");
        assert!(self.root.join("notes.txt").exists(), "{why}");
    }
}

#[test]
fn what_was_decided_happens_at_the_next_start_wherever_the_server_died() {
    let room = Room::new();
    drop(Swap::decide(room.beside.clone()).unwrap());
    room.expect_new("it was decided");

    let room = Room::new();
    let swap = Swap::decide(room.beside.clone()).unwrap();
    carry_over(&room.root, &room.beside.restored()).unwrap();
    fs::rename(&room.root, swap.kept()).unwrap();
    drop(swap);
    room.expect_new("there was no store");

    let room = Room::new();
    let swap = Swap::decide(room.beside.clone()).unwrap();
    carry_over(&room.root, &room.beside.restored()).unwrap();
    fs::rename(&room.root, swap.kept()).unwrap();
    fs::rename(room.beside.restored(), &room.root).unwrap();
    drop(swap);
    room.expect_new("all but the decision was there");

    let room = Room::new();
    let dir = Swap::decide(room.beside.clone()).unwrap().finish().unwrap();
    assert_eq!(dir.identity().incarnation, 2);
    drop(dir);
    room.expect_new("it was complete");
}

#[test]
fn what_was_not_decided_is_removed_and_the_store_is_as_it_was() {
    let room = Room::new();
    let unfinished = room.room.path().join(".data.restored.restoring");
    fs::create_dir(&unfinished).unwrap();
    // A decision that was not written to its end.
    fs::write(room.room.path().join(".data.swap.new"), "da").unwrap();
    let dir = DataDir::open_or_create(&room.root).unwrap();
    assert_eq!(dir.identity().incarnation, 1);
    assert_eq!(room.others(), [""; 0]);
}

#[test]
fn what_somebody_is_restoring_beside_a_store_is_left_alone() {
    let room = Room::new();
    let building = lock(&room.beside.restored()).unwrap();
    drop(DataDir::open_or_create(&room.root).unwrap());
    assert_eq!(room.others(), [".data.restored"]);
    drop(building);
    drop(DataDir::open_or_create(&room.root).unwrap());
    assert_eq!(room.others(), [""; 0]);
}

#[test]
fn nobody_makes_a_store_in_the_moment_in_which_there_is_none() {
    let room = Room::new();
    let swap = Swap::decide(room.beside.clone()).unwrap();
    fs::rename(&room.root, swap.kept()).unwrap();
    for opened in [
        DataDir::open_or_create(&room.root),
        DataDir::open_existing(&room.root),
    ] {
        assert!(matches!(opened, Err(DataDirError::Locked(_))), "{opened:?}");
    }
    assert!(!room.root.exists());

    // One that looked before it was decided has made its directory, and sees then that it is too late.
    fs::create_dir(&room.root).unwrap();
    let late = lock_settled(&room.root);
    assert!(matches!(late, Err(DataDirError::Locked(_))), "{late:?}");
    let dir = swap.finish().unwrap();
    assert_eq!(dir.identity().incarnation, 2);
}

#[test]
fn a_swap_that_fails_leaves_the_store_where_it_was() {
    let room = Room::new();
    let swap = Swap::decide(room.beside.clone()).unwrap();
    // It has lost what was to come.
    let building = lock(&room.beside.restored()).unwrap();
    let failed = swap.finish();
    assert!(matches!(failed, Err(DataDirError::Locked(_))), "{failed:?}");
    drop(building);
    let dir = DataDir::open_or_create(&room.root).unwrap();
    assert_eq!(dir.identity().incarnation, 1);
    assert_eq!(room.others(), [""; 0]);
}

#[test]
fn a_store_behind_a_link_is_replaced_where_it_is() {
    let room = Room::new();
    let links = tempfile::tempdir().unwrap();
    let link = links.path().join("store");
    symlink(&room.root, &link).unwrap();
    let swap = Swap::decide(Beside::of(&link).unwrap()).unwrap();
    fs::rename(&room.root, swap.kept()).unwrap();
    carry_over(swap.kept(), &room.beside.restored()).unwrap();
    drop(swap);
    let dir = DataDir::open_or_create(&link).unwrap();
    assert_eq!(dir.identity().incarnation, 2);
    drop(dir);
    room.expect_new("it is behind a link");
}

#[test]
fn a_mount_point_is_no_place_for_a_store_that_is_replaced() {
    let error = Beside::of(Path::new("/proc")).unwrap().check();
    let Err(DataDirError::MountPoint(_)) = error else {
        panic!("{error:?}");
    };
    assert!(Room::new().beside.check().is_ok());
}

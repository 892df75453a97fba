//! A server dies between any two steps of a swap.

use std::os::unix::fs::{PermissionsExt, symlink};

use stillpoint_migrations::format::Identity;
use tempfile::TempDir;

use super::*;
use crate::store::datadir::{is_at, lock_settled};

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

#[test]
fn a_decision_that_may_not_be_on_disk_is_taken_back() {
    let room = Room::new();
    let failed = Swap::decide_with(room.beside.clone(), || Err(io::Error::other("the disk")));
    assert!(matches!(failed, Err(DataDirError::Io { .. })), "{failed:?}");
    assert!(!is_decided(&room.root));
    let dir = DataDir::open_or_create(&room.root).unwrap();
    assert_eq!(dir.identity().incarnation, 1);
    assert_eq!(room.others(), [""; 0]);
}

#[test]
fn a_start_does_not_move_the_directory_of_a_server_that_still_drains() {
    let room = Room::new();
    let draining = DataDir::open_existing(&room.root).unwrap();
    // The opening has removed what was not decided.
    let mut identity = Identity::parse(&draining.identity().to_text()).unwrap();
    identity.incarnation += 1;
    drop(DataDir::replace(&room.beside.restored(), &identity).unwrap());
    drop(Swap::decide(room.beside.clone()).unwrap());
    let opened = DataDir::open_or_create(&room.root);
    assert!(matches!(opened, Err(DataDirError::Locked(_))), "{opened:?}");
    assert!(is_decided(&room.root));
    drop(draining);
    room.expect_new("it has drained");
}

#[test]
fn a_directory_that_was_moved_away_before_it_was_locked_is_not_taken_for_the_one_in_its_place() {
    let room = Room::new();
    let path = room.root.join(LOCK);
    let file = File::open(&path).unwrap();
    assert!(is_at(&file, &path));
    drop(Swap::decide(room.beside.clone()).unwrap().finish().unwrap());
    assert!(!is_at(&file, &path));
}

#[test]
fn the_new_directory_has_the_mode_of_the_old_and_what_is_in_it_of_others() {
    let room = Room::new();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&room.beside.restored()), 0o700);
    fs::set_permissions(&room.root, fs::Permissions::from_mode(0o750)).unwrap();
    let notes = room.root.join("notes.txt");
    fs::set_permissions(&notes, fs::Permissions::from_mode(0o400)).unwrap();
    symlink("notes.txt", room.root.join("link")).unwrap();

    // One that was killed has copied what is read-only already.
    let swap = Swap::decide(room.beside.clone()).unwrap();
    carry_over(&room.root, &room.beside.restored()).unwrap();
    drop(swap);
    room.expect_new("what is read-only was copied before");
    assert_eq!(mode(&room.root), 0o750);
    assert_eq!(mode(&notes), 0o400);
    let link = fs::read_link(room.root.join("link")).unwrap();
    assert_eq!(link, Path::new("notes.txt"));
}

#[test]
fn what_would_be_moved_away_with_the_old_store_is_named_before() {
    let room = Room::new();
    fs::create_dir(room.root.join("view.old")).unwrap();
    symlink("elsewhere", room.root.join("link")).unwrap();
    room.beside.check().unwrap();
    for (name, why) in [("backups", "move it out"), ("view", "symbolic link")] {
        let path = room.root.join(name);
        match name {
            "view" => symlink("elsewhere", &path).unwrap(),
            _ => fs::create_dir(&path).unwrap(),
        }
        let error = room.beside.check().unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(why), "{error}");
        let _ = fs::remove_dir(&path);
    }
}

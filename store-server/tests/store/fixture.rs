//! A data directory of each format is kept in this repository, with a list of what is in it. They must open for ever.
//!
//! Each was made with `cargo run -p stillpoint-store-server --example make-fixture`, is as a killed server leaves it, and
//! begins with a checkpoint, since the oldest part of its log is gone. None is ever made anew; a new format gets its own.

use std::{fs, path::PathBuf};

use stillpoint_proto::v1::{GetOp, op, op_result::Kind};
use stillpoint_store_server::{config::EngineKind, store::Store};

use crate::{
    common::{
        self, ENGINES, NAMESPACE, config, copy_dir, op, put, see_that_the_state_hash_is_right,
        segments, value,
    },
    listing::listing,
    world::{named, send},
};

fn fixture(name: &str) -> PathBuf {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/fixtures");
    PathBuf::from(fixtures).join(name)
}

const FORMATS: [&str; 4] = ["format-1", "format-2", "format-3", "format-4"];

#[test]
fn a_data_directory_of_each_format_opens_with_all_that_is_in_it() {
    for format in FORMATS {
        let expected = fs::read_to_string(fixture(&format!("{format}.txt"))).unwrap();
        for engine in ENGINES {
            let dir = tempfile::tempdir().unwrap();
            copy_dir(&fixture(format), dir.path());
            for _ in 0..2 {
                let store = Store::open(config(dir.path(), engine)).unwrap();
                assert_eq!(listing(&store), expected, "{format}, {engine:?}");
                see_that_the_state_hash_is_right(&store);
                store.close();
            }
        }
    }
}

#[test]
fn a_data_directory_of_each_format_takes_new_commits_behind_the_old() {
    for format in FORMATS {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(&fixture(format), dir.path());
        let store = Store::open(config(dir.path(), EngineKind::Sled)).unwrap();
        let before = store.status().log.last_seq;
        store.execute(NAMESPACE, put("new", "1")).unwrap();
        assert_eq!(store.status().log.last_seq, before + 1);
        see_that_the_state_hash_is_right(&store);
        store.close();
    }
}

#[test]
fn a_directory_of_an_older_format_has_the_number_of_ours_once_it_was_opened() {
    let dir = tempfile::tempdir().unwrap();
    copy_dir(&fixture("format-1"), dir.path());
    let number = || {
        let text = fs::read_to_string(dir.path().join("store.toml")).unwrap();
        let line = text.lines().find(|line| line.starts_with("format"));
        line.unwrap().to_owned()
    };
    assert_eq!(number(), "format = 1");
    let store = Store::open(config(dir.path(), EngineKind::Sled)).unwrap();
    // An older program refuses it by this, before anything of ours is written.
    assert_eq!(number(), "format = 4");
    store.close();
}

#[test]
fn a_named_write_of_format_2_is_not_done_again() {
    let dir = tempfile::tempdir().unwrap();
    copy_dir(&fixture("format-2"), dir.path());
    let mut config = config(dir.path(), EngineKind::Sled);
    // As if it had been done a moment ago.
    config.log.dedup_window_secs = 1000 * 366 * 86_400;
    let store = Store::open(config).unwrap();
    let before = store.status().log.last_seq;
    let repeated = send(&store, None, named("trade-77", 0, put("any", "1"))).unwrap();
    assert!(
        matches!(repeated, Kind::Patch(_)),
        "the first answer: {repeated:?}"
    );
    assert_eq!(store.status().log.last_seq, before);
    store.close();
}

#[test]
fn the_fixtures_have_all_parts_of_their_formats() {
    for format in FORMATS {
        let dir = fixture(format);
        assert!(segments(&dir).len() >= 3, "sealed segments and an open one");
        let manifests = match format {
            "format-1" | "format-2" => "checkpoint",
            _ => "checkpoint/manifest",
        };
        let checkpoints = fs::read_dir(dir.join(manifests)).unwrap().count();
        assert_eq!(checkpoints, 1);
        assert!(!dir.join("log/00000000000000000001.log").exists());
        assert!(!dir.join("view").exists(), "the view is made from the rest");
    }
    let listed = fs::read_to_string(fixture("format-2.txt")).unwrap();
    for part in [
        "session battle",
        "owns ",
        "Timer battle",
        "Cursor guild-cache",
    ] {
        assert!(listed.contains(part), "{part}");
    }
    let listed = fs::read_to_string(fixture("format-4.txt")).unwrap();
    for part in [
        "speaks {\"hero\": 1}",
        "Script hero",
        "Schema hero",
        "Quarantine hero",
    ] {
        assert!(listed.contains(part), "{part}");
    }
}

#[test]
fn a_migration_of_format_4_counts() {
    let dir = tempfile::tempdir().unwrap();
    copy_dir(&fixture("format-4"), dir.path());
    let store = Store::open(config(dir.path(), EngineKind::Sled)).unwrap();
    assert_eq!(store.schemas().version(NAMESPACE, "hero"), Some(1));
    let seen = |key: &'static str| {
        let get = GetOp {
            key: common::key("hero", key),
            ..GetOp::default()
        };
        match store.execute(NAMESPACE, op(op::Kind::Get(get))) {
            Ok(Kind::Get(found)) => found.record.unwrap(),
            other => panic!("{key}: {other:?}"),
        }
    };
    for (key, text) in [
        ("ann", r#"{"level": 1, "name": "Ann"}"#),
        ("bob", r#"{"name": "Bob", "level": 1}"#),
    ] {
        let record = seen(key);
        assert_eq!((record.value, record.schema), (value(text), 1), "{key}");
    }
    store.close();
}

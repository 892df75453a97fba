//! A data directory of format 1 is kept in this repository, with a list of what is in it. It must open for ever.
//!
//! It was made with `cargo run -p stillpoint-store-server --example make-fixture`, is as a killed server leaves it, and
//! begins with a checkpoint, since the oldest part of its log is gone. It is never made anew; a new format gets its own.

use std::{fs, path::PathBuf};

use stillpoint_store_server::{config::EngineKind, store::Store};

use crate::{
    common::{ENGINES, NAMESPACE, config, copy_dir, put, segments},
    listing::listing,
};

fn fixture(name: &str) -> PathBuf {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/fixtures");
    PathBuf::from(fixtures).join(name)
}

#[test]
fn a_data_directory_of_format_1_opens_with_every_record_and_revision() {
    let expected = fs::read_to_string(fixture("format-1.txt")).unwrap();
    for engine in ENGINES {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(&fixture("format-1"), dir.path());
        for _ in 0..2 {
            let store = Store::open(config(dir.path(), engine)).unwrap();
            assert_eq!(listing(&store), expected, "{engine:?}");
            store.close();
        }
    }
}

#[test]
fn a_data_directory_of_format_1_takes_new_commits_behind_the_old() {
    let dir = tempfile::tempdir().unwrap();
    copy_dir(&fixture("format-1"), dir.path());
    let store = Store::open(config(dir.path(), EngineKind::Sled)).unwrap();
    let before = store.status().log.last_seq;
    store.execute(NAMESPACE, put("new", "1")).unwrap();
    assert_eq!(store.status().log.last_seq, before + 1);
    store.close();
}

#[test]
fn the_fixture_has_all_parts_of_the_format() {
    let dir = fixture("format-1");
    assert!(segments(&dir).len() >= 3, "sealed segments and an open one");
    let checkpoints = fs::read_dir(dir.join("checkpoint")).unwrap().count();
    assert_eq!(checkpoints, 1);
    assert!(!dir.join("log/00000000000000000001.log").exists());
    assert!(!dir.join("view").exists(), "the view is made from the rest");
}

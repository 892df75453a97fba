//! Disks that are full when a backup is written, and when one is restored.

use rand::{SeedableRng, rngs::StdRng};
use stillpoint_tests::server::{Setup, program_with_files_up_to};

use crate::{
    bank,
    place::{Place, run},
};

/// So that a backup has files of some MB.
const BOOKS: u64 = 200;

#[test]
fn a_disk_that_gets_full_under_a_backup_leaves_none_and_the_server_goes_on() {
    let place = Place::new();
    // All files of its own are smaller.
    let setup = Setup::new()
        .flag("--engine=memory")
        .flag("--segment-bytes=65536")
        .with_files_up_to(1 << 20);
    let server = setup.start();
    bank::open(&server, BOOKS, &mut StdRng::seed_from_u64(1));
    let told = run(&mut place.create(&server, &[])).failed();
    // Which one, depends on how far the engine is.
    assert!(told.contains("-000000.zst"), "{told}");
    assert!(told.contains("File too large"), "{told}");
    assert_eq!(place.ids(), [""; 0]);
    bank::audit(&server);
    assert!(server.terminate().success());
}

#[test]
fn a_restore_that_cannot_write_says_so_and_the_next_one_can() {
    let place = Place::new();
    let server = Setup::new().start();
    bank::open(&server, BOOKS, &mut StdRng::seed_from_u64(1));
    place.take(&server, &[]);
    let into = place.free_directory();
    let path = into.directory().to_str().unwrap();
    let mut command = program_with_files_up_to(0);
    command.args(["restore", "--from", place.url(), "--into", path]);
    let told = run(&mut command).failed();
    assert!(told.contains("File too large"), "{told}");
    // What it builds lies beside the directory, under its name.
    let name = into.directory().file_name().unwrap().to_str().unwrap();
    assert!(told.contains(name), "{told}");
    assert!(!into.directory().exists());
    // What is left of it is in nobody's way.
    place.restore(into.directory(), &[]);
    bank::audit(&into.start());
}

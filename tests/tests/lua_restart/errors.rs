//! Calls that meet a store that is dead.

use stillpoint_tests::{lua_modules::LuaVersion, lua_process::Process, server::Setup};

pub fn the_death_of_the_store_is_a_pause_or_an_error_and_never_the_end_of_the_process(
    version: LuaVersion,
) {
    let setup = Setup::new();
    let server = setup.start();
    let Some(mut process) = Process::start(version, "outlives_server.lua", &server, &[]) else {
        return;
    };

    assert_eq!(process.says().as_deref(), Some("1"));
    server.kill();
    assert_eq!(process.ask(""), "deadline_exceeded");
    let server = setup.start();
    assert_eq!(process.ask(""), "2");
    server.kill();
    let _server = setup.start();
    assert_eq!(process.ask(""), "3");
    process.tell("");
    assert_eq!(process.says(), None);
    process.end();
}

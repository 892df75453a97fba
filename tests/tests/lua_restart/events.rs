//! What a process is told of its store's ends and starts.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use stillpoint_client::{CallOptions, v1::SessionState};
use stillpoint_tests::{
    lua_modules::LuaVersion,
    lua_process::Process,
    op::put,
    server::{Server, Setup, program},
};

use crate::Ending;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

const SESSION: &[(&str, &str)] = &[("STILLPOINT_SPEC_INSTANCE", "b1")];

/// Starts a process that says what it hears and sees; with an instance in its environment it has a session.
pub fn start(
    version: LuaVersion,
    server: &Server,
    environment: &[(&str, &str)],
) -> Option<Process> {
    let mut process = Process::start(version, "restart_events.lua", server, environment)?;
    assert_eq!(process.says().as_deref(), Some("ready"));
    Some(process)
}

/// Stops a server once the session's holder is there to be told.
fn stop(server: Server) {
    let mut admin = server.admin();
    let ends_by = Instant::now() + PATIENCE;
    loop {
        let listed = admin.sessions("", "").expect("the server answers");
        if listed.sessions[0].state() == SessionState::Attached {
            return Ending::Stop.end(server);
        }
        assert!(Instant::now() < ends_by, "it does not come: {listed:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

pub fn a_stop_is_announced_and_each_start_of_the_store_is_told_once(version: LuaVersion) {
    let setup = Setup::new();
    let server = setup.start();
    let Some(mut process) = start(version, &server, SESSION) else {
        return;
    };
    let fence = process.ask("session");

    // What was told since it was last asked is compared, so nothing comes twice.
    let server = Ending::Kill.restart(server, &setup);
    assert_eq!(process.ask("hear reconnected"), "reconnected");
    stop(server);
    assert_eq!(process.ask("hear shutting_down"), "shutting_down");
    let server = setup.start();
    assert_eq!(process.ask("hear reconnected"), "reconnected");
    assert_eq!(process.ask("session"), fence, "the same session goes on");
    let server = Ending::Kill.restart(server, &setup);
    assert_eq!(process.ask("hear reconnected"), "reconnected");
    assert_eq!(process.ask("session"), fence);

    assert_eq!(process.ask("put one"), "done");
    assert_eq!(process.ask("watch put"), "put(one)");
    drop(server);
}

pub fn a_changed_incarnation_is_told_and_ends_sessions_and_resyncs_watches(version: LuaVersion) {
    let setup = Setup::new();
    let server = setup.start();
    let Some(mut holder) = start(version, &server, SESSION) else {
        return;
    };
    let mut tool = start(version, &server, &[]).expect("the same Lua is here again");
    assert_eq!(holder.ask("put one"), "done");
    assert_eq!(tool.ask("watch put"), "put(one)");
    assert_eq!(holder.ask("watch put"), "put(one)");

    stop(server);
    assert_eq!(holder.ask("hear shutting_down"), "shutting_down");
    let log = setup.directory().join("log");
    let older = setup.directory().join("log-of-before");
    copy_files(&log, &older);
    let server = setup.start();
    for process in [&mut holder, &mut tool] {
        assert_eq!(process.ask("hear reconnected"), "reconnected");
    }
    let later = put("later", "text");
    let done = server.client("spec").call(later, CallOptions::default());
    done.expect("the store is well");
    stop(server);
    assert_eq!(holder.ask("hear shutting_down"), "shutting_down");

    fs::remove_dir_all(&log).expect("it can be removed");
    fs::rename(&older, &log).expect("it can be moved");
    let Err((_, said)) = setup.try_start() else {
        panic!("a store whose log is too short is served");
    };
    assert!(said.contains("stillpoint repair"), "{said}");
    let repaired = Command::new(program())
        .args(["repair", "--data-dir"])
        .arg(setup.directory())
        .output()
        .expect("the program starts");
    assert!(repaired.status.success(), "{repaired:?}");

    let _server = setup.start();
    let told = holder.ask("hear fenced");
    assert_eq!(told, "restored(2) reconnected fenced");
    assert_eq!(
        holder.ask("put late"),
        "session_expired",
        "it writes no more"
    );
    let told = tool.ask("hear reconnected");
    assert_eq!(told, "restored(2) reconnected");
    assert_eq!(tool.ask("watch synced"), "resync put(one) synced");
    assert_eq!(tool.ask("put two"), "done");
    assert_eq!(tool.ask("watch put"), "put(two)");
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir(to).expect("it can be made");
    for file in fs::read_dir(from).expect("it can be read") {
        let file = file.expect("it can be read");
        fs::copy(file.path(), to.join(file.file_name())).expect("it can be copied");
    }
}

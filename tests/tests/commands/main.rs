//! What operators ask of running processes, from the operator's port of the built program to real Lua processes of every
//! version, and back.

mod fleet;
mod operator;

use std::fs;

use fleet::{Fleet, Worker};
use operator::{Told, command, follow, reload, request, run};
use rmpv::Value;
use stillpoint_client::v1::{
    self, ActionOutcome, ProcessState, manage_request::Action, manage_response::Kind,
    reload_fleet::Step,
};
use stillpoint_tests::{lua_modules::LuaVersion, server::Server};

#[test]
fn every_lua_answers_its_own_commands_and_the_built_in_ones() {
    let server = Server::start();
    let fleet = Fleet::start(&server, None);
    let mut admin = server.admin();

    let numbers = Value::Array(vec![2.into(), 3.into()]);
    let told = run(&mut admin, request("*", command("add", Some(numbers))));
    assert!(told.saw(ProcessState::Progress));
    let answers = told.answers();
    let instances: Vec<_> = answers.iter().map(|(instance, _)| instance).collect();
    assert_eq!(instances, fleet.names().iter().collect::<Vec<_>>());
    assert!(answers.iter().all(|(_, sum)| *sum == Value::from(5)));

    for (instance, info) in run(&mut admin, request("*", command("info", None))).answers() {
        let worker = fleet.0.iter().find(|worker| worker.name == instance);
        let pid = worker.expect("it is one of ours").process.id();
        assert_eq!(info["pid"], Value::from(pid));
        assert_eq!(info["code_version"], Value::from("1.4.2"));
        assert_eq!(info["service"], Value::from("battle"));
    }
    for name in ["ping", "gc", "memory"] {
        run(&mut admin, request("*", command(name, None))).answers();
    }

    let told = run(&mut admin, request("*", command("break", None)));
    assert_eq!(told.summary.outcome(), ActionOutcome::Failed);
    for (_, update) in told.all(ProcessState::Error) {
        assert!(update.message.contains("it broke"), "{update:?}");
        assert!(update.traceback.contains("worker.lua"), "{update:?}");
    }
    let told = run(&mut admin, request("*", command("brake", None)));
    for (_, update) in told.all(ProcessState::Error) {
        assert!(update.message.contains("no command 'brake'"), "{update:?}");
        assert!(update.message.contains("break"), "{update:?}");
    }
    let told = run(&mut admin, request("*", command("reload.apply", None)));
    for (_, update) in told.all(ProcessState::Error) {
        assert!(update.message.contains("does not use stillpoint.reload"));
    }
}

#[test]
fn a_notice_reaches_every_lua_and_a_drained_process_ends_by_itself() {
    let server = Server::start();
    let mut fleet = Fleet::start(&server, None);
    let mut admin = server.admin();
    let mut payload = Vec::new();
    let at = Value::Map(vec![("at".into(), 9.into())]);
    rmpv::encode::write_value(&mut payload, &at).expect("memory takes it");
    let notice = Action::Notice(v1::SendNotice {
        message: "back".into(),
        payload: payload.into(),
    });
    run(&mut admin, request("*", notice)).all(ProcessState::Ok);
    for worker in &mut fleet.0 {
        worker.hear("notice back 9");
    }
    let told = run(
        &mut admin,
        request("*", Action::Drain(v1::DrainProcesses {})),
    );
    assert_eq!(told.summary.outcome(), ActionOutcome::Ok, "{told:?}");
    told.all(ProcessState::Ok);
    for worker in &mut fleet.0 {
        worker.hear("ended");
        worker.ends();
    }
}

#[test]
fn a_process_in_an_event_loop_of_another_library_is_drained_and_its_loop_ends() {
    let server = Server::start();
    let mut admin = server.admin();
    let mut drained = 0;
    for library in ["luv", "cqueues", "copas"] {
        for version in LuaVersion::ALL {
            let Some(mut worker) = Worker::start(version, &server, ["loop", library]) else {
                continue;
            };
            if worker.line().as_deref() != Some("has loop") {
                continue;
            }
            let drain = Action::Drain(v1::DrainProcesses {});
            let told = run(&mut admin, request(worker.name, drain));
            assert_eq!(told.summary.outcome(), ActionOutcome::Ok, "{told:?}");
            worker.hear("stillpoint.Store (closed)");
            worker.ends();
            drained += 1;
        }
    }
    assert!(drained > 0, "there is no event loop at all");
}

#[test]
fn a_program_that_hangs_is_told_from_one_that_is_gone() {
    let server = Server::start();
    let mut fleet = Fleet::start(&server, None);
    let mut admin = server.admin();
    let within = |ms, action| v1::ManageRequest {
        timeout_ms: ms,
        ..request("*", action)
    };
    let told = run(&mut admin, within(300, command("hang", None)));
    assert!(told.saw(ProcessState::Delivered));
    told.all(ProcessState::Timeout);
    for worker in &mut fleet.0 {
        worker.hear("hangs");
    }
    // Its program never polls again: only the client's own thread can say that the command has come.
    let mut delivered = 0;
    let told: Told = follow(
        &mut admin,
        within(60_000, command("ping", None)),
        |message| {
            if let Some(Kind::Update(update)) = &message.kind
                && update.state() == ProcessState::Delivered
            {
                delivered += 1;
                if delivered == fleet.0.len() {
                    for worker in &mut fleet.0 {
                        worker.process.kill().expect("it can be killed");
                    }
                }
            }
        },
    );
    assert_eq!(told.summary.outcome(), ActionOutcome::Failed);
    told.all(ProcessState::Gone);
}

#[test]
fn a_fleet_of_every_lua_reloads_whole_or_not_at_all() {
    let server = Server::start();
    let roots = tempfile::tempdir().expect("a directory is made");
    let write = |price: &str| {
        let text = format!(
            "local M = require('stillpoint.reload').module(...)\nfunction M.price() return {price} end\nreturn M\n"
        );
        fs::write(roots.path().join("rules.lua"), text).expect("it is written");
    };
    write("10");
    let _fleet = Fleet::start(&server, Some(roots.path()));
    let mut admin = server.admin();
    let mut price = || {
        let answers = run(&mut admin, request("*", command("price", None))).answers();
        let mut prices: Vec<_> = answers.into_iter().map(|(_, price)| price).collect();
        prices.dedup();
        assert_eq!(prices.len(), 1, "they differ: {prices:?}");
        prices[0].as_i64()
    };
    assert_eq!(price(), Some(10));
    let mut port = server.admin();

    write("20");
    let plan = run(&mut port, request("*", reload(Step::Plan)));
    for (_, report) in plan.answers() {
        assert_eq!(report["changed"], Value::Array(vec!["rules".into()]));
    }
    assert_eq!(price(), Some(10));
    let applied = run(&mut port, request("*", reload(Step::Apply)));
    assert_eq!(applied.summary.outcome(), ActionOutcome::Ok, "{applied:?}");
    assert_eq!(price(), Some(20));

    write("30 +");
    let refused = run(&mut port, request("*", reload(Step::Apply)));
    assert_eq!(
        refused.summary.outcome(),
        ActionOutcome::RolledBack,
        "{refused:?}"
    );
    assert_eq!(price(), Some(20));

    write("30");
    let back = run(&mut port, request("*", reload(Step::Rollback)));
    assert_eq!(back.summary.outcome(), ActionOutcome::Ok, "{back:?}");
    assert_eq!(price(), Some(10));
}

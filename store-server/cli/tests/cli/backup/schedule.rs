//! What the server does by itself with backups, as its operator sees it.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use super::target::Target;
use crate::server::{Ran, Server};

/// A server with a plan that does nothing during the test.
fn start_in(directory: TempDir, target: &Target) -> Server {
    let url = target.url();
    let flags = [
        "--backup-target",
        &url,
        "--backup-full",
        "0 0 1 1 *",
        "--backup-keep-daily",
        "1",
    ];
    Server::start_in(directory, &flags)
}

fn start(target: &Target) -> Server {
    start_in(tempfile::tempdir().unwrap(), target)
}

fn status(server: &Server) -> Value {
    let status: Value = serde_json::from_str(&server.ok(&["status", "--json"])).unwrap();
    status["backup"].clone()
}

fn run_now(server: &Server, job: &str) -> Ran {
    server.run(&["backup", "schedule", "--run", job, "--as", "ann"])
}

#[test]
fn each_job_can_be_done_at_once_and_is_remembered_over_restarts() {
    let target = Target::new();
    let server = start(&target);
    server.ok(&["put", "player/42", "{\"gold\": 100}"]);
    for (job, done) in [
        ("incremental", "full backup "),
        ("full", "full backup "),
        ("incremental", "incremental backup "),
        ("verify", "is what the running store was then"),
        ("expire", "backups are kept"),
    ] {
        let ran = run_now(&server, job);
        assert_eq!(ran.code, 0, "{job}: {}", ran.stderr);
        assert!(ran.stdout.contains(done), "{job}: {}", ran.stdout);
    }
    let before = status(&server);
    assert_eq!(before["last_backup"]["kind"], "incremental");
    assert_eq!(before["last_backup"]["id"], before["last_verified"]["id"]);
    assert_eq!(before["alarms"], Value::Array(vec![]));
    let jobs = before["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 4);
    assert!(jobs.iter().all(|job| job["last_error"] == ""), "{before}");

    let (code, directory) = server.stop();
    assert_eq!(code, Some(0));
    let server = start_in(directory, &target);
    assert_eq!(status(&server), before);
    let told = server.ok(&["backup", "schedule"]);
    for part in [
        "JOB",
        "0 0 1 1 *",
        "incremental",
        "not scheduled",
        "last verified",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let audit = server.ok(&["audit"]);
    assert!(audit.contains("backup schedule --run verify"), "{audit}");
}

#[test]
fn monitoring_is_told_of_an_alarm_by_one_exit_code() {
    let target = Target::new();
    let server = start(&target);
    server.ok(&["put", "player/42", "1"]);
    server.ok(&["status", "--check"]);
    fs::write(target.url(), "no directory").unwrap();
    let failed = run_now(&server, "full");
    assert_eq!(failed.code, 1, "{}", failed.stdout);
    let checked = server.run(&["status", "--check"]);
    assert_eq!(checked.code, 1);
    let alarm = "backup_target_unreachable";
    assert!(checked.stderr.contains(alarm), "{}", checked.stderr);
    assert!(
        checked
            .stdout
            .starts_with(&format!("ALARM {alarm}, since ")),
        "{}",
        checked.stdout
    );
    let told = server.ok(&["backup", "schedule"]);
    assert!(told.contains("FAILED: "), "{told}");
    fs::remove_file(target.url()).unwrap();
    assert_eq!(run_now(&server, "full").code, 0);
    server.ok(&["status", "--check"]);
}

#[test]
fn a_backup_taken_by_hand_is_known_and_without_a_plan_help_says_how() {
    let (server, target) = (Server::start(), Target::new());
    let told = server.ok(&["backup", "schedule"]);
    assert!(told.contains("no backups are scheduled"), "{told}");
    let refused = run_now(&server, "full");
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("set backup.target"),
        "{}",
        refused.stderr
    );
    let taken = target.take(&server, &[]);
    assert_eq!(status(&server)["last_backup"]["id"], taken["id"]);
}

#[test]
fn a_backup_is_compared_with_the_running_store() {
    let (server, target) = (Server::start(), Target::new());
    server.ok(&["put", "player/42", "{\"gold\": 100}"]);
    let taken = target.take(&server, &[]);
    server.ok(&["put", "player/42", "{\"gold\": 101}"]);
    let url = target.url();
    let verify = |server: &Server, flags: &[&str]| {
        server.run(&[&["backup", "verify", "--from", &url, "--live"], flags].concat())
    };
    let same = verify(&server, &["--json"]);
    assert_eq!(same.code, 0, "{}", same.stderr);
    let same: Value = serde_json::from_str(&same.stdout).unwrap();
    assert_eq!(same["live_state_hash"], taken["state_hash"]);
    let scratch = target.path("");
    let same = verify(&server, &["--restore", "--scratch", &scratch]);
    assert!(
        same.stdout.contains("the same as the running store was"),
        "{}{}",
        same.stdout,
        same.stderr
    );

    let into = target.path("restored");
    target.ok(&["restore", "--into", &into]);
    let restored = target.serve("restored");
    restored.ok(&["put", "player/42", "{\"gold\": 7}"]);
    let other = verify(&restored, &[]);
    assert_eq!(other.code, 1);
    assert!(
        other.stderr.contains("is incarnation ") && other.stderr.contains(" now"),
        "{}",
        other.stderr
    );
    let stranger = Server::start();
    let other = verify(&stranger, &[]);
    assert_eq!(other.code, 1);
    assert!(
        other.stderr.contains("the running store is"),
        "{}",
        other.stderr
    );
}

//! What is written down without the operator thinking of it: who asked for a backup, and the moment before a reload.

use serde_json::Value;

use super::target::Target;
use crate::{server::Server, sessions::open};

fn lines(server: &Server, args: &[&str]) -> Vec<Value> {
    let text = server.ok(&[args, &["--json"]].concat());
    let lines = text.lines().map(serde_json::from_str);
    lines.map(Result::unwrap).collect()
}

#[test]
fn a_backup_is_in_the_audit_with_who_asked_and_how_it_ended() {
    let (server, target) = (Server::start(), Target::new());
    server.ok(&["put", "player/42", "1"]);
    target.take(&server, &["--as=ann"]);
    let actions = lines(&server, &["audit"]);
    let [action] = &actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!(action["action"], "backup create");
    assert_eq!(
        (&action["actor"], &action["outcome"]),
        (&"ann".into(), &"ok".into())
    );
    assert_eq!(action["subject"], target.url());
    assert!(action["ended_ms"].as_u64() >= action["begun_ms"].as_u64());

    let table = server.ok(&["audit"]);
    assert!(table.contains(&target.url()), "{table}");
    let id = action["action_id"].as_str().unwrap();
    let detail = server.ok(&["audit", "--action", id]);
    assert!(detail.contains(&target.url()), "{detail}");
    assert!(!detail.contains("processes"), "{detail}");

    let failed = server.run(&[
        "backup",
        "create",
        "--incremental",
        "--to",
        &target.path("none"),
    ]);
    assert_ne!(failed.code, 0);
    let newest = &lines(&server, &["audit", "--limit=1"])[0];
    assert_eq!(newest["action"], "backup create --incremental");
    assert_eq!(newest["outcome"], "failed");
    assert_ne!(newest["message"], "");
}

#[test]
fn a_reload_labels_the_moment_before_it_and_the_store_can_be_brought_back_to_that() {
    let (server, target) = (Server::start(), Target::new());
    let _battle = open(&server, "default", "battle", "b-1");
    server.ok(&["put", "player/42", "1"]);
    target.take(&server, &[]);
    let reload = |step| {
        // Its process does not poll, so it is soon over.
        let step = [
            "reload",
            step,
            "--service=battle",
            "--timeout=50ms",
            "--as=ann",
        ];
        assert_eq!(server.run(&step).code, 1);
        lines(&server, &["mark", "--list"])
    };
    assert_eq!(reload("plan"), [Value::Null; 0], "it changes nothing");
    let marks = reload("apply");
    server.ok(&["put", "player/42", "2"]);
    let [mark] = &marks[..] else {
        panic!("{marks:?}");
    };
    let label = mark["label"].as_str().unwrap();
    assert!(label.starts_with("before-reload-20"), "{label}");
    assert_eq!(mark["actor"], "ann");
    let action = &lines(&server, &["audit", "--limit=1"])[0]["action_id"];
    assert_eq!(mark["note"], format!("action {}", action.as_str().unwrap()));

    target.take(&server, &["--incremental"]);
    target.ok(&["restore", "--to", label, "--into", &target.path("restored")]);
    let restored = target.serve("restored");
    assert_eq!(restored.ok(&["get", "player/42"]), "1");
}

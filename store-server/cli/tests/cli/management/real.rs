//! A real server, and processes that do not poll.

use serde_json::Value;

use crate::{server::Server, sessions::open};

#[test]
fn a_process_that_hangs_is_named_evicted_and_written_down() {
    let server = Server::start();
    let _battle = open(&server, "default", "battle", "b-1");
    let ping = ["command", "ping", "--all", "--timeout=300ms", "--as=ann"];
    let ran = server.run(&ping);
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stderr
            .starts_with("error: 1 TIMEOUT: battle/b-1 has the command"),
        "{}",
        ran.stderr
    );

    let evict = ["evict", "--service=battle", "--label=zone=eu", "--yes"];
    let evicted = server.ok(&evict);
    assert!(evicted.ends_with("1 of 1 evicted"), "{evicted}");
    assert_eq!(server.ok(&["sessions", "--json"]), "");
    assert_eq!(server.run(&ping).code, 4, "it is over");

    let written = server.ok(&["audit", "--json"]);
    let actions: Vec<Value> = (written.lines())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: Vec<_> = (actions.iter())
        .map(|action| (action["action"].as_str(), action["outcome"].as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (Some("command ping"), Some("nobody")),
            (Some("evict"), Some("ok")),
            (Some("command ping"), Some("failed")),
        ]
    );
    assert_eq!(actions[2]["actor"], "ann");
    let id = actions[1]["action_id"].as_str().unwrap();
    let detail = server.ok(&["audit", "--action", id]);
    assert!(detail.contains("battle/b-1"), "{detail}");
}

//! `backup expire`: what is removed is asked for twice.

use super::target::Target;
use crate::{
    server::{Server, program},
    terminal::ask_on_a_terminal,
};

/// Three full backups of one hour; all but the newest can go.
fn three(server: &Server, target: &Target) -> Vec<String> {
    for n in 0..3 {
        server.ok(&["put", "player/42", &n.to_string()]);
        target.take(server, &[]);
    }
    target.ids()
}

#[test]
fn without_a_terminal_the_yes_is_said_beforehand() {
    let (server, target) = (Server::start(), Target::new());
    let ids = three(&server, &target);
    let refused = target.run(&["backup", "expire", "--monthly=1"]);
    assert_eq!(refused.code, 2);
    assert!(
        refused.stderr.contains("say --yes if it is meant"),
        "{}",
        refused.stderr
    );
    let nothing = target.run(&["backup", "expire"]);
    assert_eq!(nothing.code, 2, "what is to be kept has to be said");

    let dry = target.ok(&["backup", "expire", "--monthly=1", "--dry-run"]);
    assert!(dry.contains(&format!("  {}\n", ids[0])), "{dry}");
    assert!(dry.contains("would be removed: 2 backups, "), "{dry}");
    assert_eq!(target.ids(), ids);

    let done = target.ok(&["backup", "expire", "--monthly=1", "--yes", "--json"]);
    let done: serde_json::Value = serde_json::from_str(&done).unwrap();
    assert_eq!(done["removed"].as_array().unwrap().len(), 2, "{done}");
    assert_eq!(target.ids(), ids[2..]);
    target.ok(&["backup", "verify"]);
}

#[test]
fn on_a_terminal_it_is_shown_and_asked() {
    let (server, target) = (Server::start(), Target::new());
    let ids = three(&server, &target);
    let expire = |answer: &str| {
        let mut command = program();
        command.args(["backup", "expire", "--daily=1", "--from", &target.url()]);
        ask_on_a_terminal(&mut command, answer)
    };
    let (code, asked, printed) = expire("");
    assert_eq!((code, &*printed), (1, ""));
    assert!(
        asked.starts_with(&format!("  {}\n  {}\nremove 2 backups, ", ids[0], ids[1])),
        "{asked}"
    );
    assert_eq!(target.ids(), ids, "nobody said yes");
    let (code, _, printed) = expire("y");
    assert_eq!(code, 0);
    assert!(printed.ends_with("kept: 1 backup\n"), "{printed}");
    assert_eq!(target.ids(), ids[2..]);
}

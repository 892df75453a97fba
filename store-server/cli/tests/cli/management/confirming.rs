//! What cannot be taken back is asked for twice.

use stillpoint_proto::v1::{
    ActionOutcome, ManageRequest, ProcessState, manage_request::Action, manage_response::Kind,
};

use super::fake::{Fake, Told, begun, summary, word};
use crate::terminal::ask_on_a_terminal;

fn evicted(request: &ManageRequest) -> Told {
    let over = [
        word("b-1", ProcessState::Ok, ""),
        word("b-2", ProcessState::Ok, ""),
    ];
    let mut told = vec![begun(&["b-1", "b-2"])];
    if !request.dry_run {
        told.extend(over.iter().cloned().map(Kind::Update));
    }
    told.push(summary(ActionOutcome::Ok, "2 of 2 are over", &over));
    Told::All(told)
}

/// Evicts, and types `answer` when asked; gives the exit code, the question and what was printed.
fn evict_with(fake: &Fake, answer: &str) -> (i32, String, String) {
    let mut command = fake.program();
    command.args(["evict", "--all", "--reason=hangs"]);
    ask_on_a_terminal(&mut command, answer)
}

#[test]
fn an_eviction_shows_whom_it_would_be_and_waits_for_a_yes() {
    let fake = Fake::start(evicted);
    let (code, asked, printed) = evict_with(&fake, "");
    assert_eq!((code, &*printed), (1, ""));
    assert!(asked.contains("battle/b-1"), "{asked}");
    assert!(
        asked.ends_with("end the session of these 2 processes? [y/N] "),
        "{asked}"
    );
    assert!(
        fake.asked().iter().all(|request| request.dry_run),
        "nobody said yes"
    );

    let (code, _, printed) = evict_with(&fake, "y");
    assert_eq!(code, 0);
    assert!(printed.ends_with("2 of 2 evicted\n"), "{printed}");
    let asked = fake.asked();
    let last = asked.last().unwrap();
    assert!(!last.dry_run);
    let Some(Action::Evict(evict)) = &last.action else {
        panic!("{last:?}");
    };
    assert_eq!(evict.reason, "hangs");
}

#[test]
fn without_a_terminal_the_yes_is_said_beforehand() {
    let fake = Fake::start(evicted);
    let ran = fake.run(&["evict", "--all"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("say --yes if it is meant"),
        "{}",
        ran.stderr
    );
    assert_eq!(fake.asked(), []);
    assert_eq!(fake.run(&["evict", "--all", "--dry-run"]).code, 0);
    assert_eq!(fake.run(&["evict", "--all", "--yes"]).code, 0);
    let dry: Vec<_> = fake.asked().iter().map(|asked| asked.dry_run).collect();
    assert_eq!(dry, [true, false]);
}

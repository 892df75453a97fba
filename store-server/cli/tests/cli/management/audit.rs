//! The audit: pages, the table, one action in detail.

use serde_json::{Value, json};
use stillpoint_proto::v1::{
    ActionOutcome, ActionRecord, ListActionsRequest, ListActionsResponse, ProcessState, Selection,
};

use super::fake::{Fake, Script, Told, word};

/// So many are kept.
const KEPT: u32 = 130;

fn id(number: u32) -> String {
    format!("019a1b2c-0000-7000-8000-{number:012}")
}

fn action(number: u32) -> ActionRecord {
    let mut failed = word("b-1", ProcessState::Error, "boom");
    failed.traceback = "shop.lua:14".into();
    ActionRecord {
        action_id: id(number),
        begun_ms: 1_795_348_800_000,
        ended_ms: 1_795_348_801_200,
        actor: "ann".into(),
        peer: "uid 1000, pid 77".into(),
        action: "command price".into(),
        selection: Some(Selection {
            namespace: "default".into(),
            service: "battle".into(),
            ..Selection::default()
        }),
        outcome: ActionOutcome::Failed.into(),
        message: "0 of 1 have done it".into(),
        processes: vec![failed],
        subject: String::new(),
    }
}

/// Newest first, in pages of at most 50, as a store may have it.
fn list(request: &ListActionsRequest) -> ListActionsResponse {
    let all = (1..=KEPT).rev().map(action);
    let older = all.filter(|action| {
        request.before_action_id.is_empty() || action.action_id < request.before_action_id
    });
    let mut actions: Vec<_> = older.take(request.limit.min(50) as usize).collect();
    if let Some(newest) = actions
        .iter_mut()
        .find(|action| action.action_id == id(KEPT))
    {
        newest.ended_ms = 0;
        newest.outcome = ActionOutcome::Unknown.into();
        newest.message = "it is under way".into();
    }
    ListActionsResponse {
        actions,
        ..ListActionsResponse::default()
    }
}

fn fake() -> Fake {
    Fake::with(Script {
        manage: |_| Told::All(Vec::new()),
        actions: list,
    })
}

fn cells(line: &str) -> Vec<&str> {
    let cells = line.split("  ").map(str::trim);
    cells.filter(|cell| !cell.is_empty()).collect()
}

#[test]
fn the_table_says_when_who_what_of_whom_and_how_it_ended() {
    let ran = fake().run(&["audit", "--limit=2"]);
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    let lines: Vec<_> = ran.stdout.lines().map(cells).collect();
    let id = |number| id(number);
    assert_eq!(
        lines[1],
        [
            "2026-11-22 12:00:00Z",
            "ann",
            "command price",
            "battle/*",
            "1",
            "UNKNOWN: it is under way",
            "–",
            &id(KEPT)
        ]
    );
    assert_eq!(lines[2][5..], ["FAILED", "1s 200ms", &id(KEPT - 1)]);
    assert_eq!(lines.len(), 3);
}

#[test]
fn older_ones_are_had_page_by_page() {
    let fake = fake();
    let listed = |limit: &str| {
        let ran = fake.run(&["audit", "--json", limit]);
        let lines = ran.stdout.lines();
        let ids = lines.map(|line| {
            let action: Value = serde_json::from_str(line).unwrap();
            action["action_id"].as_str().unwrap().to_owned()
        });
        ids.collect::<Vec<_>>()
    };
    let all: Vec<_> = (1..=KEPT).rev().map(id).collect();
    assert_eq!(listed("--limit=120"), all[..120]);
    assert_eq!(listed("--limit=1000"), all);
}

#[test]
fn one_action_is_shown_with_its_processes() {
    let fake = fake();
    let ran = fake.run(&["audit", "--action", &id(7)]);
    assert_eq!(ran.code, 0);
    let lines: Vec<_> = ran.stdout.lines().map(cells).collect();
    assert!(
        lines.contains(&vec!["who", "ann (uid 1000, pid 77)"]),
        "{lines:?}"
    );
    assert!(lines.contains(&vec!["of whom", "battle/* of namespace default"]));
    assert!(
        ran.stdout.ends_with(
            "\nPROCESS     STATE        TIME  ANSWER\nbattle/b-1  ERROR         3ms  boom\n    shop.lua:14\n"
        ),
        "{}",
        ran.stdout
    );
    let json = fake.run(&["audit", "--json", "--action", &id(7)]);
    let action: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(action["selection"]["service"], "battle");
    assert_eq!(action["processes"][0]["traceback"], json!("shop.lua:14"));

    let none = fake.run(&["audit", "--action", "nothing"]);
    assert_eq!(none.code, 3);
    assert!(
        none.stderr
            .starts_with("error: namespace default has no action nothing\nhint: "),
        "{}",
        none.stderr
    );
}

#[test]
fn a_namespace_without_actions_says_so() {
    let fake = Fake::start(|_| Told::All(Vec::new()));
    let ran = fake.run(&["audit", "--namespace=world1"]);
    assert_eq!(
        (ran.code, &*ran.stdout, &*ran.stderr),
        (0, "", "no actions in namespace world1\n")
    );
}

//! What a reload would do: once for all processes that say the same.

use std::collections::BTreeSet;

use rmpv::Value;
use stillpoint_proto::v1::{ActionBegun, ActionSummary, ProcessState, ProcessUpdate};

use super::fields::{list, plain, text};
use crate::management::{
    answers::{answer, name_width},
    report::Report,
    words::{is_last, name_of, processes, some_names, value_of},
};

/// The plans, until all are there.
#[derive(Debug, Default)]
pub struct Plans {
    name_width: usize,
    groups: Vec<Group>,
    /// The store says again at the end what failed.
    told: BTreeSet<String>,
}

/// Processes that say the same, but for how much each would lose.
#[derive(Debug)]
struct Group {
    plan: Vec<String>,
    losses: Vec<Loss>,
    generations: BTreeSet<String>,
    names: Vec<String>,
}

/// Something that would be lost. How much of it there is differs from process to process, and does not make groups.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Loss {
    what: String,
    place: String,
    details: BTreeSet<String>,
}

impl Report for Plans {
    fn begun(&mut self, begun: &ActionBegun) -> String {
        self.name_width = name_width(begun);
        String::new()
    }

    fn update(&mut self, update: &ProcessUpdate) -> String {
        match update.state() {
            ProcessState::Ok => {
                self.add(name_of(update), &value_of(update));
                String::new()
            }
            state if is_last(state) && self.told.insert(name_of(update)) => {
                answer(self.name_width, update)
            }
            _ => String::new(),
        }
    }

    fn summary(&mut self, _: &ActionSummary) -> String {
        self.groups.sort_by(|a, b| a.names.cmp(&b.names));
        self.groups.iter().map(Group::text).collect()
    }
}

impl Plans {
    fn add(&mut self, name: String, report: &Value) {
        let (plan, losses) = (plan(report), losses(report));
        let same = |a: &Loss, b: &Loss| a.what == b.what && a.place == b.place;
        let found = self.groups.iter_mut().find(|group| {
            let losses_fit = group.losses.len() == losses.len()
                && group.losses.iter().zip(&losses).all(|(a, b)| same(a, b));
            group.plan == plan && losses_fit
        });
        let group = match found {
            Some(group) => {
                for (known, loss) in group.losses.iter_mut().zip(losses) {
                    known.details.extend(loss.details);
                }
                group
            }
            None => {
                self.groups.push(Group {
                    plan,
                    losses,
                    generations: BTreeSet::new(),
                    names: Vec::new(),
                });
                self.groups.last_mut().expect("just pushed")
            }
        };
        group.generations.insert(text(report, "from"));
        let at = group.names.partition_point(|known| *known < name);
        group.names.insert(at, name);
    }
}

impl Group {
    fn text(&self) -> String {
        let generations: Vec<_> = self.generations.iter().filter(|g| !g.is_empty()).collect();
        let mut head = match &*self.names {
            [one] => one.clone(),
            several => format!("{}: {}", processes(several.len()), some_names(several)),
        };
        if !generations.is_empty() {
            head += &format!(", at generation {}", some_names(&generations));
        }
        let mut lines = vec![head];
        if self.plan.is_empty() && self.losses.is_empty() {
            lines.push("  nothing to reload".into());
        }
        lines.extend(self.plan.iter().map(|line| format!("  {line}")));
        lines.extend(self.losses.iter().map(|loss| format!("  {}", loss.text())));
        lines.join("\n") + "\n"
    }
}

impl Loss {
    fn text(&self) -> String {
        let details: Vec<_> = self.details.iter().filter(|d| !d.is_empty()).collect();
        let details = match details.is_empty() {
            true => String::new(),
            false => format!(" ({})", some_names(&details)),
        };
        format!("loses {}{details}{}", self.what, self.place)
    }
}

/// What would be done, a line each; the words are those of the kit's own text.
fn plan(report: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for (title, name) in [
        ("changed", "changed"),
        ("run again", "rerun"),
        ("added", "added"),
        ("vanished", "vanished"),
    ] {
        let names: Vec<_> = list(report, name).iter().map(plain).collect();
        if !names.is_empty() {
            lines.push(format!("{title}: {}", names.join(", ")));
        }
    }
    lines.extend(list(report, "changes").iter().map(change));
    let notes = list(report, "notes").iter();
    lines.extend(notes.map(|note| format!("note: {}", plain(note))));
    lines
}

fn change(change: &Value) -> String {
    let (kind, functions) = match &*text(change, "kind") {
        "function_new" => ("new function".to_owned(), true),
        "function_gone" => ("function gone".to_owned(), true),
        kind => (kind.to_owned(), false),
    };
    let line = format!("{}: {kind} {}", text(change, "unit"), text(change, "name"));
    let (from, to) = (text(change, "from"), text(change, "to"));
    if functions || (from.is_empty() && to.is_empty()) {
        return line;
    }
    let or_nil = |text: String| if text.is_empty() { "nil".into() } else { text };
    format!("{line}: {} -> {}", or_nil(from), or_nil(to))
}

fn losses(report: &Value) -> Vec<Loss> {
    let loss = |loss: &Value| {
        let place = match (&*text(loss, "file"), &*text(loss, "line")) {
            ("", _) => String::new(),
            (file, "") => format!(" of {file}"),
            (file, line) => format!(" of {file}:{line}"),
        };
        Loss {
            what: format!("{} `{}`", text(loss, "kind"), text(loss, "name")),
            place,
            details: [text(loss, "detail")].into(),
        }
    };
    list(report, "loses").iter().map(loss).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::fields::tests::value, *};

    const CHANGED: &str = r#"{
        "from": 4, "ms": 3.5, "changed": ["game.shop"], "rerun": ["game.main"], "added": {}, "vanished": ["game.old"],
        "changes": [
            {"unit": "game.shop", "kind": "function_gone", "name": "old_price"},
            {"unit": "game.shop", "kind": "value", "name": "tax", "from": 5, "to": 7}
        ],
        "loses": [{"unit": "game.mail", "kind": "local", "name": "cache", "file": "game/mail.lua", "line": 12, "detail": "table, 14 entries"}]
    }"#;

    fn told(reports: &[(&str, &str)]) -> String {
        let mut plans = Plans::default();
        for (name, report) in reports {
            plans.add((*name).into(), &value(report));
        }
        plans.summary(&ActionSummary::default())
    }

    #[test]
    fn processes_that_say_the_same_are_told_once() {
        let other = CHANGED
            .replace("14 entries", "3 entries")
            .replace("3.5", "9");
        let nothing = r#"{"from": 5, "outcome": "nothing", "changed": {}}"#;
        let reports = [
            ("battle/b-3", nothing),
            ("battle/b-2", &*other),
            ("battle/b-1", CHANGED),
        ];
        assert_eq!(
            told(&reports),
            "\
2 processes: battle/b-1, battle/b-2, at generation 4
  changed: game.shop
  run again: game.main
  vanished: game.old
  game.shop: function gone old_price
  game.shop: value tax: 5 -> 7
  loses local `cache` (table, 14 entries, table, 3 entries) of game/mail.lua:12
battle/b-3, at generation 5
  nothing to reload
"
        );
    }

    #[test]
    fn processes_that_say_something_else_are_told_apart() {
        let other = CHANGED.replace("game.shop", "game.auction");
        let told = told(&[("battle/b-1", CHANGED), ("battle/b-2", &other)]);
        assert_eq!(told.matches(", at generation 4\n").count(), 2, "{told}");
        let elsewhere = CHANGED.replace("\"line\": 12", "\"line\": 13");
        let told = super::tests::told(&[("battle/b-1", CHANGED), ("battle/b-2", &elsewhere)]);
        assert_eq!(told.matches(", at generation 4\n").count(), 2, "{told}");
    }
}

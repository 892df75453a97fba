//! Which program each process runs, as a table.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, ContentArrangement, Table};
use rmpv::Value;
use stillpoint_proto::v1::{ActionSummary, ProcessState, ProcessUpdate};

use super::fields::{field, plain, text};
use crate::{
    management::{
        report::Report,
        words::{is_last, name_of, state_word, value_of},
    },
    output::{is_terminal, plain_table, table_text},
};

/// The words of the processes, by name, until all are there.
#[derive(Debug, Default)]
pub struct Statuses(BTreeMap<String, ProcessUpdate>);

impl Report for Statuses {
    fn update(&mut self, update: &ProcessUpdate) -> String {
        if is_last(update.state()) {
            self.0.insert(name_of(update), update.clone());
        }
        String::new()
    }

    fn summary(&mut self, _: &ActionSummary) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let mut table = plain_table();
        if is_terminal() {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        self.fill(&mut table);
        table_text(&table)
    }
}

impl Statuses {
    fn fill(&self, table: &mut Table) {
        table.set_header([
            "PROCESS",
            "STATE",
            "GENERATION",
            "PROGRAM",
            "UNITS",
            "STALE",
            "PREPARED",
            "LAST",
        ]);
        for (name, update) in &self.0 {
            table.add_row(row(name, update));
        }
        for number in [2, 4, 5] {
            if let Some(column) = table.column_mut(number) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
}

fn row(name: &str, update: &ProcessUpdate) -> [String; 8] {
    let status = value_of(update);
    let known = |field| match text(&status, field) {
        text if text.is_empty() => "–".to_owned(),
        text => text,
    };
    let prepared = match field(&status, "prepared") {
        Value::Nil => "–".to_owned(),
        Value::Boolean(false) => "no".to_owned(),
        _ => "yes".to_owned(),
    };
    let last = match update.state() {
        ProcessState::Ok => last(field(&status, "last")),
        _ => update.message.clone(),
    };
    [
        name.to_owned(),
        state_word(update.state()).to_owned(),
        known("generation"),
        known("program"),
        known("units"),
        known("stale"),
        prepared,
        last,
    ]
}

/// How the last reload ended: its report, or only the outcome of it.
fn last(report: &Value) -> String {
    match report {
        Value::Nil => String::new(),
        Value::Map(_) => text(report, "outcome"),
        outcome => plain(outcome),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fields::tests::value, *};
    use crate::json;

    fn ok(status: &str) -> ProcessUpdate {
        ProcessUpdate {
            state: ProcessState::Ok.into(),
            value: json::to_msgpack(&value(status)).into(),
            ..ProcessUpdate::default()
        }
    }

    #[test]
    fn a_row_has_what_is_known() {
        let full = ok(
            r#"{"generation": 4, "program": "8f3a01bc", "units": 12, "stale": 0, "prepared": false,
            "last": {"outcome": "applied", "changed": ["game.shop"]}}"#,
        );
        assert_eq!(
            row("battle/b-1", &full).join("|"),
            "battle/b-1|OK|4|8f3a01bc|12|0|no|applied"
        );
        assert_eq!(
            row("battle/b-1", &ok("{}")).join("|"),
            "battle/b-1|OK|–|–|–|–|–|"
        );
        let gone = ProcessUpdate {
            state: ProcessState::Gone.into(),
            message: "is not there".into(),
            ..ProcessUpdate::default()
        };
        assert_eq!(
            row("battle/b-1", &gone).join("|"),
            "battle/b-1|GONE|–|–|–|–|–|is not there"
        );
    }
}

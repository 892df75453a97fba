//! Actions as people and programs see them.

use comfy_table::{CellAlignment, Table};
use rmpv::Value;
use stillpoint_proto::v1::{ActionOutcome, ActionRecord, Selection};

use crate::{
    management::{
        answers::{answer, header},
        selection::describe,
        words::{moment, name_of, outcome_word, time, update_fields},
    },
    output::{plain_table, table_text},
    record::object,
};

/// The actions, a row each; what was done with no processes has none. It is as wide as it gets: an action's number that is broken in two cannot be copied.
pub fn table(actions: &[ActionRecord]) -> Table {
    let mut table = plain_table();
    table.set_header([
        "WHEN",
        "WHO",
        "WHAT",
        "OF WHOM",
        "PROCESSES",
        "OUTCOME",
        "TOOK",
        "ACTION",
    ]);
    for action in actions {
        table.add_row([
            moment(action.begun_ms),
            who(action).to_owned(),
            first_line(&action.action).to_owned(),
            whom(action),
            match action.subject.as_str() {
                "" => action.processes.len().to_string(),
                _ => String::new(),
            },
            outcome(action),
            took(action),
            action.action_id.clone(),
        ]);
    }
    for number in [4, 6] {
        if let Some(column) = table.column_mut(number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// One action with its processes.
pub fn detail(action: &ActionRecord) -> String {
    let selection = action.selection.clone().unwrap_or_default();
    let mut table = plain_table();
    let mut rows = vec![
        ("action", action.action_id.clone()),
        ("when", moment(action.begun_ms)),
        ("who", format!("{} ({})", who(action), action.peer)),
        ("what", action.action.clone()),
    ];
    rows.push(match action.subject.as_str() {
        "" => (
            "of whom",
            format!("{} of namespace {}", whom(action), selection.namespace),
        ),
        subject => ("with what", subject.to_owned()),
    });
    rows.extend([
        ("outcome", outcome_word(action.outcome()).to_owned()),
        ("", action.message.clone()),
        ("took", took(action)),
    ]);
    if action.subject.is_empty() {
        rows.push(("processes", action.processes.len().to_string()));
    }
    for (name, value) in rows {
        table.add_row([name.to_owned(), value]);
    }
    let mut text = table_text(&table);
    if action.processes.is_empty() {
        return text;
    }
    let names = action.processes.iter().map(|update| name_of(update).len());
    let name_width = names.max().unwrap_or(0).max("PROCESS".len());
    text += &format!("\n{}", header(name_width));
    text.extend(
        action
            .processes
            .iter()
            .map(|update| answer(name_width, update)),
    );
    text
}

/// An action for programs: the fields of the contract, by their names.
pub fn to_value(action: &ActionRecord) -> Value {
    let last_words = action.processes.iter().map(update_fields).map(object);
    object([
        ("action_id", action.action_id.as_str().into()),
        ("begun_ms", action.begun_ms.into()),
        ("ended_ms", action.ended_ms.into()),
        ("actor", action.actor.as_str().into()),
        ("peer", action.peer.as_str().into()),
        ("action", action.action.as_str().into()),
        (
            "selection",
            selection_value(&action.selection.clone().unwrap_or_default()),
        ),
        ("subject", action.subject.as_str().into()),
        (
            "outcome",
            outcome_word(action.outcome()).to_lowercase().into(),
        ),
        ("message", action.message.as_str().into()),
        ("processes", Value::Array(last_words.collect())),
    ])
}

fn selection_value(selection: &Selection) -> Value {
    let mut labels: Vec<_> = selection.labels.iter().collect();
    labels.sort();
    let labels = labels
        .into_iter()
        .map(|(name, value)| (name.as_str().into(), value.as_str().into()));
    object([
        ("namespace", selection.namespace.as_str().into()),
        ("service", selection.service.as_str().into()),
        ("instance", selection.instance.as_str().into()),
        ("labels", Value::Map(labels.collect())),
        ("all", selection.all.into()),
    ])
}

/// As they called themselves, else as the server knows them.
fn who(action: &ActionRecord) -> &str {
    match action.actor.as_str() {
        "" => &action.peer,
        actor => actor,
    }
}

/// The processes that were meant, or what it was done with in their place.
fn whom(action: &ActionRecord) -> String {
    match action.subject.as_str() {
        "" => describe(&action.selection.clone().unwrap_or_default()),
        subject => subject.into(),
    }
}

/// Of one that has not ended, the message says why.
fn outcome(action: &ActionRecord) -> String {
    let word = outcome_word(action.outcome());
    match action.outcome() {
        ActionOutcome::Unknown if !action.message.is_empty() => {
            format!("{word}: {}", first_line(&action.message))
        }
        _ => word.to_owned(),
    }
}

fn took(action: &ActionRecord) -> String {
    match action.ended_ms {
        0 => "–".to_owned(),
        ended_ms => time(ended_ms.saturating_sub(action.begun_ms)),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

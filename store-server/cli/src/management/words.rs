//! Processes, states and values, as people and programs see them.

use std::time::Duration;

use rmpv::Value;
use stillpoint_proto::v1::{ActionOutcome, Phase, ProcessRef, ProcessState, ProcessUpdate};

use crate::{json, record::object};

/// A process's name: `battle/battle-3`.
pub fn process_name(process: &ProcessRef) -> String {
    format!("{}/{}", process.service, process.instance)
}

/// The name of the process that is told of.
pub fn name_of(update: &ProcessUpdate) -> String {
    update
        .process
        .as_ref()
        .map(process_name)
        .unwrap_or_default()
}

/// A state for people: `OK`.
pub fn state_word(state: ProcessState) -> &'static str {
    without(state.as_str_name(), "PROCESS_STATE_")
}

/// An outcome for people: `ROLLED_BACK`.
pub fn outcome_word(outcome: ActionOutcome) -> &'static str {
    without(outcome.as_str_name(), "ACTION_OUTCOME_")
}

/// A phase for people and programs: `catch_up`.
pub fn phase_word(phase: Phase) -> String {
    without(phase.as_str_name(), "PHASE_").to_lowercase()
}

/// The contract's names carry their type in front.
fn without(name: &'static str, prefix: &str) -> &'static str {
    name.strip_prefix(prefix).unwrap_or(name)
}

/// Whether this is the last word on a process, in its phase.
pub fn is_last(state: ProcessState) -> bool {
    matches!(
        state,
        ProcessState::Ok
            | ProcessState::Error
            | ProcessState::Timeout
            | ProcessState::Gone
            | ProcessState::Skipped
    )
}

/// The value that a process answered. What is no MessagePack is shown as its bytes, rather than not at all.
pub fn value_of(update: &ProcessUpdate) -> Value {
    if update.value.is_empty() {
        return Value::Nil;
    }
    json::from_msgpack(&update.value)
        .map(in_order)
        .unwrap_or_else(|_| Value::Binary(update.value.to_vec()))
}

/// The same value with the keys of its maps in order. Lua tables have none, and the answers of many processes are to be
/// compared.
fn in_order(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(in_order).collect()),
        Value::Map(entries) => {
            let mut entries: Vec<_> = (entries.into_iter())
                .map(|(key, value)| (key, in_order(value)))
                .collect();
            entries.sort_by_cached_key(|(key, _)| json::to_string(key, false));
            Value::Map(entries)
        }
        leaf => leaf,
    }
}

/// A time for people: `1s 200ms`.
pub fn time(ms: u64) -> String {
    if ms == 0 {
        return "0ms".into();
    }
    humantime::format_duration(Duration::from_millis(ms)).to_string()
}

/// A moment for people, in UTC: `2026-11-23 12:00:00Z`.
pub fn moment(ms: u64) -> String {
    let time = std::time::UNIX_EPOCH.checked_add(Duration::from_millis(ms));
    let text = time.map(|time| humantime::format_rfc3339_seconds(time).to_string());
    text.unwrap_or_default().replacen('T', " ", 1)
}

/// A process for programs.
pub fn process_value(process: &ProcessRef) -> Value {
    object(process_fields(process))
}

fn process_fields(process: &ProcessRef) -> [(&'static str, Value); 5] {
    [
        ("process", process_name(process).into()),
        ("service", process.service.as_str().into()),
        ("instance", process.instance.as_str().into()),
        ("fence", process.fence.into()),
        ("code_version", process.code_version.as_str().into()),
    ]
}

/// A word on a process for programs; the phase is null in actions without.
pub fn update_fields(update: &ProcessUpdate) -> Vec<(&'static str, Value)> {
    let phase = match update.phase() {
        Phase::Unspecified => Value::Nil,
        phase => phase_word(phase).into(),
    };
    let mut fields = Vec::from(process_fields(&update.process.clone().unwrap_or_default()));
    fields.extend([
        ("phase", phase),
        ("state", state_word(update.state()).to_lowercase().into()),
        ("message", update.message.as_str().into()),
        ("value", value_of(update)),
        ("traceback", update.traceback.as_str().into()),
        ("elapsed_ms", update.elapsed_ms.into()),
    ]);
    fields
}

/// Some names for people: all of a few, the first of many.
pub fn some_names<T: AsRef<str>>(names: &[T]) -> String {
    const SHOWN_MAX: usize = 5;
    let shown: Vec<_> = names.iter().take(SHOWN_MAX).map(AsRef::as_ref).collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A count of processes: `1 process`, `12 processes`.
pub fn processes(count: usize) -> String {
    match count {
        1 => "1 process".into(),
        count => format!("{count} processes"),
    }
}

//! What is told, for programs: one object a line, with the contract's names.

use rmpv::Value;
use stillpoint_proto::v1::{ActionBegun, ActionSummary, PhaseBegun, ProcessUpdate};

use super::{
    report::Report,
    words::{outcome_word, phase_word, process_value, update_fields},
};
use crate::{json, record::object};

/// Every word as a line of JSON.
#[derive(Debug)]
pub struct Events;

impl Report for Events {
    fn begun(&mut self, begun: &ActionBegun) -> String {
        let expected = begun.expected.iter().map(process_value).collect();
        let fields = [
            ("action_id", begun.action_id.as_str().into()),
            ("expected", Value::Array(expected)),
        ];
        line("begun", fields)
    }

    fn phase(&mut self, phase: &PhaseBegun) -> String {
        let fields = [
            ("phase", phase_word(phase.phase()).into()),
            ("processes", phase.processes.into()),
            ("reason", phase.reason.as_str().into()),
        ];
        line("phase", fields)
    }

    fn update(&mut self, update: &ProcessUpdate) -> String {
        line("update", update_fields(update))
    }

    fn summary(&mut self, summary: &ActionSummary) -> String {
        let last_words = summary.processes.iter().map(update_fields).map(object);
        let fields = [
            (
                "outcome",
                outcome_word(summary.outcome()).to_lowercase().into(),
            ),
            ("message", summary.message.as_str().into()),
            ("processes", Value::Array(last_words.collect())),
        ];
        line("summary", fields)
    }
}

fn line(event: &str, fields: impl IntoIterator<Item = (&'static str, Value)>) -> String {
    let named = [("event", event.into())];
    json::to_string(&object(named.into_iter().chain(fields)), false) + "\n"
}

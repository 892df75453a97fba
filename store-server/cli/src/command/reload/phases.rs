//! How a reload goes: a line for each phase, with those that failed in it above, as they did.
//!
//! A fleet of hundreds goes through several phases; who did what it should is only counted.

use std::collections::{BTreeMap, BTreeSet};

use rmpv::Value;
use stillpoint_proto::v1::{
    ActionBegun, ActionSummary, Phase, PhaseBegun, ProcessState, ProcessUpdate,
};

use super::fields::{field, list, plain};
use crate::management::{
    answers::{answer, name_width},
    report::Report,
    words::{is_last, name_of, phase_word, some_names, state_word, time, value_of},
};

/// Room for the longest phase, `rollback`, and a gap.
const PHASE_WIDTH: usize = 10;

/// A line for each phase.
#[derive(Debug, Default)]
pub struct Phases {
    name_width: usize,
    /// The one that is going on.
    now: Option<Going>,
    /// What processes keep of old code, as they last said.
    stale: BTreeMap<String, u64>,
}

/// A phase that is going on.
#[derive(Debug, Default)]
struct Going {
    phase: Phase,
    reason: String,
    /// Those that have had their last word.
    told: BTreeSet<String>,
    /// Processes in each last state; the states are in the contract's order, the good one first.
    ended: BTreeMap<ProcessState, usize>,
    slowest_ms: u64,
    /// Units that will change, or have, in any process.
    changed: BTreeSet<String>,
}

impl Report for Phases {
    fn begun(&mut self, begun: &ActionBegun) -> String {
        self.name_width = name_width(begun);
        String::new()
    }

    fn phase(&mut self, phase: &PhaseBegun) -> String {
        let next = Going {
            phase: phase.phase(),
            reason: phase.reason.clone(),
            ..Going::default()
        };
        let before = self.now.replace(next);
        before.map(|phase| phase.line()).unwrap_or_default()
    }

    fn update(&mut self, update: &ProcessUpdate) -> String {
        if !is_last(update.state()) {
            return String::new();
        }
        let now = self.now.get_or_insert_default();
        // At the end the store says again what failed, as its last word on a process.
        if update.phase() != now.phase || !now.told.insert(name_of(update)) {
            return String::new();
        }
        *now.ended.entry(update.state()).or_default() += 1;
        now.slowest_ms = now.slowest_ms.max(update.elapsed_ms);
        if update.state() != ProcessState::Ok {
            let phase = phase_word(now.phase);
            return format!("{phase:PHASE_WIDTH$}{}", answer(self.name_width, update));
        }
        let value = value_of(update);
        if now.phase == Phase::Prepare {
            now.changed
                .extend(list(&value, "changed").iter().map(plain));
        }
        self.note_stale(update, &value);
        String::new()
    }

    fn summary(&mut self, _: &ActionSummary) -> String {
        let last = self
            .now
            .take()
            .map(|phase| phase.line())
            .unwrap_or_default();
        last + &self.stale_line()
    }
}

impl Phases {
    fn note_stale(&mut self, update: &ProcessUpdate, value: &Value) {
        if let Some(stale) = field(value, "stale").as_u64() {
            self.stale.insert(name_of(update), stale);
        }
    }

    fn stale_line(&self) -> String {
        let kept = self.stale.iter().filter(|(_, stale)| **stale > 0);
        let kept: Vec<_> = kept
            .map(|(name, stale)| format!("{name} ({stale})"))
            .collect();
        if kept.is_empty() {
            return String::new();
        }
        format!(
            "old code is still in use in {}: `stillpoint command reload.audit` names the places\n",
            some_names(&kept)
        )
    }
}

impl Going {
    fn line(&self) -> String {
        let counted: Vec<_> = (self.ended.iter())
            .map(|(state, count)| format!("{count} {}", state_word(*state)))
            .collect();
        let mut parts = vec![counted.join(", "), time(self.slowest_ms)];
        if !self.reason.is_empty() {
            parts.push(self.reason.clone());
        }
        if !self.changed.is_empty() {
            let changed: Vec<_> = self.changed.iter().collect();
            parts.push(format!("changed: {}", some_names(&changed)));
        }
        format!(
            "{:PHASE_WIDTH$}{}\n",
            phase_word(self.phase),
            parts.join("  ")
        )
    }
}

#[cfg(test)]
mod tests {
    use stillpoint_proto::v1::ProcessRef;

    use super::{super::fields::tests::value, *};
    use crate::json;

    fn phase(phase: Phase, reason: &str) -> PhaseBegun {
        PhaseBegun {
            phase: phase.into(),
            processes: 2,
            reason: reason.into(),
        }
    }

    fn ok(phase: Phase, instance: &str, answer: &str) -> ProcessUpdate {
        ProcessUpdate {
            process: Some(ProcessRef {
                service: "battle".into(),
                instance: instance.into(),
                ..ProcessRef::default()
            }),
            phase: phase.into(),
            state: ProcessState::Ok.into(),
            value: json::to_msgpack(&value(answer)).into(),
            elapsed_ms: 40,
            ..ProcessUpdate::default()
        }
    }

    #[test]
    fn a_phase_is_one_line_and_its_failures() {
        let mut phases = Phases::default();
        assert_eq!(phases.phase(&phase(Phase::Prepare, "")), "");
        phases.update(&ok(
            Phase::Prepare,
            "b-1",
            r#"{"changed": ["game.shop", "game.mail"]}"#,
        ));
        let failed = ProcessUpdate {
            state: ProcessState::Error.into(),
            message: "game/shop.lua:14: boom".into(),
            ..ok(Phase::Prepare, "b-2", "{}")
        };
        assert_eq!(
            phases.update(&failed),
            "prepare   battle/b-2  ERROR        40ms  game/shop.lua:14: boom\n"
        );
        assert_eq!(phases.update(&failed), "", "it was told already");
        assert_eq!(
            phases.phase(&phase(Phase::Abort, "battle/b-2 failed")),
            "prepare   1 OK, 1 ERROR  40ms  changed: game.mail, game.shop\n"
        );
        phases.update(&ok(Phase::Abort, "b-1", "{}"));
        assert_eq!(phases.update(&failed), "", "it was told already");
        assert_eq!(
            phases.summary(&ActionSummary::default()),
            "abort     1 OK  40ms  battle/b-2 failed\n"
        );
    }

    #[test]
    fn who_keeps_old_code_is_named_by_the_last_word() {
        let mut phases = Phases::default();
        phases.phase(&phase(Phase::Status, ""));
        phases.update(&ok(Phase::Status, "b-1", r#"{"stale": 2}"#));
        phases.update(&ok(Phase::Status, "b-2", r#"{"stale": 4}"#));
        phases.phase(&phase(Phase::Status, ""));
        phases.update(&ok(Phase::Status, "b-1", r#"{"stale": 0}"#));
        phases.update(&ok(Phase::Status, "b-2", r#"{"stale": 3}"#));
        let told = phases.summary(&ActionSummary::default());
        assert!(told.contains("in use in battle/b-2 (3):"), "{told}");
    }
}

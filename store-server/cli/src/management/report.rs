//! What is printed of the words that the store tells.

use stillpoint_proto::v1::{
    ActionBegun, ActionSummary, PhaseBegun, ProcessUpdate, manage_response::Kind,
};

/// Turns words into whole lines for stdout; most words print nothing for people.
pub trait Report {
    /// The action has begun.
    fn begun(&mut self, _: &ActionBegun) -> String {
        String::new()
    }

    /// A phase begins.
    fn phase(&mut self, _: &PhaseBegun) -> String {
        String::new()
    }

    /// A process has another state.
    fn update(&mut self, _: &ProcessUpdate) -> String {
        String::new()
    }

    /// The action is over.
    fn summary(&mut self, _: &ActionSummary) -> String {
        String::new()
    }

    /// Whatever is told.
    fn tell(&mut self, told: &Kind) -> String {
        match told {
            Kind::Begun(begun) => self.begun(begun),
            Kind::Phase(phase) => self.phase(phase),
            Kind::Update(update) => self.update(update),
            Kind::Summary(summary) => self.summary(summary),
        }
    }
}

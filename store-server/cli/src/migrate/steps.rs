//! Taking collections to another version, up to the moment from which it counts.
//!
//! Applying and rolling back tell the same: sessions that are waited for, then what came of it.

use stillpoint_proto::v1::{
    ApplyMigrationsResponse, MigrationStatus, MigrationsApplied, RollBackMigrationResponse,
    WaitingForSessions, apply_migrations_response, roll_back_migration_response,
};

use super::{
    listen::{Heard, Words},
    words::sessions,
};
use crate::{failure::Failure, interrupt::Interrupt, output::harmless, progress};

/// What is told on the way.
#[derive(Debug)]
pub enum Step {
    /// Sessions are waited for.
    Waiting(WaitingForSessions),
    /// The version counts.
    Applied(MigrationsApplied),
}

/// A word on the way; none: a newer server tells more than we know.
pub trait Tells {
    /// What it says.
    fn step(self) -> Option<Step>;
}

impl Tells for ApplyMigrationsResponse {
    fn step(self) -> Option<Step> {
        use apply_migrations_response::Kind;
        self.kind.map(|kind| match kind {
            Kind::Waiting(waiting) => Step::Waiting(waiting),
            Kind::Applied(applied) => Step::Applied(applied),
        })
    }
}

impl Tells for RollBackMigrationResponse {
    fn step(self) -> Option<Step> {
        use roll_back_migration_response::Kind;
        self.kind.map(|kind| match kind {
            Kind::Waiting(waiting) => Step::Waiting(waiting),
            Kind::Applied(applied) => Step::Applied(applied),
        })
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Applied {
    /// Sessions that were waited for, each once.
    pub waited_for: Vec<String>,
    /// The collections.
    pub migrations: Vec<MigrationStatus>,
}

/// Hears the store up to the moment from which the version counts; `verb` says what it does. For people it names the
/// sessions that are waited for.
pub fn hear<M: Tells + Send + 'static>(
    words: &Words<M>,
    verb: &str,
    interrupt: &Interrupt,
    json: bool,
) -> Result<Applied, Failure> {
    let bar = progress::work(verb);
    bar.set_message("asks");
    let mut applied = Applied::default();
    loop {
        let heard = words
            .next(interrupt)
            .map_err(|failure| match failure.is_of_connection() {
                true => failure.hint(format_args!(
                    "whether the version counts is not known: {SEE_STATUS}"
                )),
                false => failure,
            });
        let word = match heard? {
            Heard::Word(word) => word,
            Heard::End => {
                return Err(Failure::operation(
                    "the store ended the answer before the version counted",
                )
                .hint(SEE_STATUS));
            }
            Heard::Interrupt => {
                return Err(Failure::operation(
                    "interrupted: whether the version counts is not known",
                )
                .hint(SEE_STATUS));
            }
        };
        match word.step() {
            Some(Step::Waiting(waiting)) => {
                let count = sessions(waiting.sessions.len());
                let is_new = |session: &&String| !applied.waited_for.contains(session);
                let new: Vec<_> = waiting.sessions.iter().filter(is_new).cloned().collect();
                if !json && !new.is_empty() {
                    // There may be hundreds; those that were named are not named again.
                    let names = new.iter().map(|session| format!("\n  {session}"));
                    let names = names.collect::<String>();
                    let told = format!("note: waiting for {count}: {}{names}", waiting.reason);
                    bar.suspend(|| eprintln!("{}", harmless(&told)));
                }
                applied.waited_for.extend(new);
                bar.set_message(format!("waits for {count}"));
            }
            Some(Step::Applied(done)) => {
                bar.finish_and_clear();
                applied.migrations = done.migrations;
                return Ok(applied);
            }
            None => {}
        }
    }
}

const SEE_STATUS: &str = "see which version counts with `stillpoint migrate status`";

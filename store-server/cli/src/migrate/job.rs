//! How the rewriting of records goes, and what came of it.

use std::{
    cell::OnceCell,
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use rmpv::Value;
use stillpoint_proto::v1::{MigrationPhase, MigrationStatus};

use super::{
    listen::{Heard, Words},
    steps::Applied,
    words::{applied_line, name_of, records, status_line, status_value, texts},
};
use crate::{
    failure::Failure, interrupt::Interrupt, output, port::AdminPort, progress, record::object,
};

/// Says what came of taking collections to another version, follows the rewriting of their records unless it is left to the
/// background, and fails if that stops. For programs it prints one object, which begins with the fields of `json`.
pub fn see_to_the_end(
    port: &AdminPort,
    applied: Applied,
    detach: bool,
    interrupt: &Interrupt,
    json: Option<Vec<(&'static str, Value)>>,
) -> Result<(), Failure> {
    let is_json = json.is_some();
    if !is_json {
        let lines = applied.migrations.iter().map(applied_line);
        output::print_text(&lines.map(|line| line + "\n").collect::<String>())?;
    }
    let migrations = match detach {
        true => applied.migrations,
        false => follow_all(port, applied.migrations, interrupt, is_json)?,
    };
    match json {
        Some(mut fields) => {
            let values = migrations.iter().map(status_value).collect();
            fields.push(("waited_for", texts(&applied.waited_for)));
            fields.push(("migrations", Value::Array(values)));
            output::print_json(&object(fields), false)?;
        }
        None if detach && !migrations.is_empty() => {
            output::print_line(
                "the records are rewritten in the background: see `stillpoint migrate status`",
            )?;
        }
        None => {}
    }
    conclude(&migrations)
}

/// Follows the jobs of these collections, one after another, until each rests, and says to people what came of each; gives how
/// they are then. Ctrl-C leaves the jobs alone.
fn follow_all(
    port: &AdminPort,
    migrations: Vec<MigrationStatus>,
    interrupt: &Interrupt,
    json: bool,
) -> Result<Vec<MigrationStatus>, Failure> {
    let mut ended = Vec::new();
    for status in migrations {
        let status = match status.phase() {
            MigrationPhase::Rewriting => follow(port, status, interrupt)?,
            _ => status,
        };
        if !json {
            output::print_line(&status_line(&status))?;
        }
        ended.push(status);
    }
    Ok(ended)
}

/// Fails if a job does not go on by itself.
fn conclude(migrations: &[MigrationStatus]) -> Result<(), Failure> {
    let rests = |status: &&MigrationStatus| {
        matches!(
            status.phase(),
            MigrationPhase::Stopped | MigrationPhase::Paused
        )
    };
    let Some(status) = migrations.iter().find(rests) else {
        return Ok(());
    };
    let name = name_of(status);
    let failure = match status.phase() {
        MigrationPhase::Stopped => Failure::operation(format_args!(
            "the rewriting of {name} stopped: {}",
            status.stopped_why
        ))
        .hint(format_args!(
            "`stillpoint migrate quarantine {name}` lists the records; when they are mended, `stillpoint migrate resume {name}`"
        )),
        _ => Failure::operation(format_args!("the rewriting of {name} is held up"))
            .hint(format_args!("`stillpoint migrate resume {name}` lets it go on")),
    };
    Err(failure)
}

fn follow(
    port: &AdminPort,
    status: MigrationStatus,
    interrupt: &Interrupt,
) -> Result<MigrationStatus, Failure> {
    let name = name_of(&status);
    let collection = status.collection.clone().unwrap_or_default();
    let goes_on = |failure: Failure| {
        failure.hint(format_args!(
            "the job goes on in the background: `stillpoint migrate status` shows it, \
             `stillpoint migrate pause {name}` holds it up"
        ))
    };
    let words = Words::of(port.connect()?, move |admin| {
        admin.follow_migration(collection)
    });
    let bar = Bar::new(&name);
    let mut last = status;
    loop {
        match words.next(interrupt).map_err(goes_on)? {
            Heard::Word(word) => {
                let Some(status) = word.status else { continue };
                bar.show(&status);
                last = status;
            }
            Heard::End if last.phase() == MigrationPhase::Rewriting => {
                return Err(goes_on(Failure::operation(
                    "the store ended the answer before the records were rewritten",
                )));
            }
            Heard::End => return Ok(last),
            Heard::Interrupt => return Err(goes_on(Failure::operation("interrupted"))),
        }
    }
}

/// The progress line of a job, removed when dropped.
struct Bar {
    bar: ProgressBar,
    /// When the first word came is about when this was made; how many records had been seen then is told in it.
    begun: Instant,
    seen_before: OnceCell<u64>,
}

impl Bar {
    fn new(name: &str) -> Bar {
        let bar = progress::work(&format!("rewriting {name}"));
        progress::with_end(&bar, true);
        Bar {
            bar,
            begun: Instant::now(),
            seen_before: OnceCell::new(),
        }
    }

    fn show(&self, status: &MigrationStatus) {
        let before = *self.seen_before.get_or_init(|| status.seen);
        self.bar.set_length(status.total.max(status.seen));
        self.bar.set_position(status.seen);
        let seconds = self.begun.elapsed().as_secs_f64();
        let rate = status.seen.saturating_sub(before) as f64 / seconds.max(0.001);
        self.bar.set_message(words(status, rate));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// How much was done of how much, at so many records a second, and the time left.
fn words(status: &MigrationStatus, rate: f64) -> String {
    let total = status.total.max(status.seen);
    let mut words = format!("{} of about {}", status.seen, records(total));
    if rate >= 1.0 {
        let left = Duration::from_secs(((total - status.seen) as f64 / rate).ceil() as u64);
        words += &format!(", {rate:.0}/s, {} left", humantime::format_duration(left));
    }
    if status.failed > 0 {
        words += &format!(", {} failed", status.failed);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(phase: MigrationPhase) -> MigrationStatus {
        MigrationStatus {
            phase: phase.into(),
            seen: 1000,
            total: 5000,
            ..MigrationStatus::default()
        }
    }

    #[test]
    fn the_time_left_is_told_once_there_is_a_rate() {
        let mut status = status(MigrationPhase::Rewriting);
        assert_eq!(words(&status, 0.0), "1000 of about 5000 records");
        assert_eq!(
            words(&status, 200.0),
            "1000 of about 5000 records, 200/s, 20s left"
        );
        status.failed = 2;
        status.seen = 6000;
        assert_eq!(
            words(&status, 200.0),
            "6000 of about 6000 records, 200/s, 0s left, 2 failed"
        );
    }

    #[test]
    fn a_job_that_rests_before_its_end_is_a_failure_with_the_remedy() {
        let ended = [MigrationPhase::Rewritten, MigrationPhase::Rewriting].map(status);
        assert!(conclude(&ended).is_ok());
        for (phase, remedy) in [
            (MigrationPhase::Stopped, "quarantine"),
            (MigrationPhase::Paused, "lets it go on"),
        ] {
            let failure = conclude(&[status(phase)]).unwrap_err().to_string();
            assert!(failure.contains(remedy), "{failure}");
        }
    }
}

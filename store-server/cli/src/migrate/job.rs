//! How the rewriting of records goes, and what came of it.

use std::{
    cell::OnceCell,
    thread,
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

/// How long a store that has gone away is waited for: a restart is a matter of seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is tried again meanwhile.
const TRY_EVERY: Duration = Duration::from_millis(200);

/// Says what came of taking collections to another version, follows the rewriting of their records unless it is left to the
/// background, and fails if that stops. For programs it prints one object, which begins with the fields of `json`, also where
/// following fails: the version counts all the same.
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
    let mut migrations = applied.migrations;
    let followed = match detach {
        true => Ok(()),
        false => follow_all(port, &mut migrations, interrupt, is_json),
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
    followed.and_then(|()| conclude(&migrations))
}

/// Follows the jobs of these collections, one after another, until each rests, and says to people what came of each; they are
/// then as they are, or as far as it is known. Ctrl-C leaves the jobs alone.
fn follow_all(
    port: &AdminPort,
    migrations: &mut [MigrationStatus],
    interrupt: &Interrupt,
    json: bool,
) -> Result<(), Failure> {
    for status in migrations {
        if status.phase() == MigrationPhase::Rewriting {
            follow(port, status, interrupt, json)?;
        }
        if !json {
            output::print_line(&status_line(status))?;
            if status.failed > 0 && status.phase() == MigrationPhase::Rewritten {
                output::print_line(&format!(
                    "those that failed are in quarantine, as they were: see `stillpoint migrate quarantine {}`",
                    name_of(status)
                ))?;
            }
        }
    }
    Ok(())
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

/// Follows a job until it rests, also while the store is restarted.
fn follow(
    port: &AdminPort,
    last: &mut MigrationStatus,
    interrupt: &Interrupt,
    json: bool,
) -> Result<(), Failure> {
    let name = name_of(last);
    let goes_on = |failure: Failure| {
        failure.hint(format_args!(
            "the job goes on in the background: `stillpoint migrate status` shows it, \
             `stillpoint migrate pause {name}` holds it up"
        ))
    };
    let bar = Bar::new(&name);
    let mut gone: Option<Instant> = None;
    loop {
        let before = last.clone();
        let failure = match listen(port, last, interrupt, &bar, json) {
            Ok(()) => return Ok(()),
            Err(failure) if !failure.is_of_connection() => return Err(goes_on(failure)),
            Err(failure) => failure,
        };
        if *last != before {
            gone = None;
        }
        if gone.is_none() && !json {
            bar.bar.suspend(|| {
                eprintln!("note: the connection to the store is lost; waiting for it to come back");
            });
        }
        bar.bar.set_message("waits for the store");
        let since = *gone.get_or_insert_with(Instant::now);
        if since.elapsed() >= PATIENCE {
            let place = format!(
                "the store went away, and did not come back within {} s; the last word of it was: {}",
                PATIENCE.as_secs(),
                status_line(last)
            );
            return Err(failure.at(place).hint(format_args!(
                "the version counts, and the job goes on when the store is back: `stillpoint migrate status` shows it"
            )));
        }
        if interrupt.is_told() {
            return Err(goes_on(interrupted()));
        }
        thread::sleep(TRY_EVERY);
    }
}

/// Hears of a job until it rests.
fn listen(
    port: &AdminPort,
    last: &mut MigrationStatus,
    interrupt: &Interrupt,
    bar: &Bar,
    json: bool,
) -> Result<(), Failure> {
    let collection = last.collection.clone().unwrap_or_default();
    let words = Words::of(port.connect()?, move |admin| {
        admin.follow_migration(collection)
    });
    loop {
        match words.next(interrupt)? {
            Heard::Word(word) => {
                let Some(status) = word.status else { continue };
                let why = hindrance(&status);
                if !json && !why.is_empty() && why != last.stopped_why {
                    let told = format!("note: {} does not go on: {why}", name_of(&status));
                    bar.bar.suspend(|| eprintln!("{}", output::harmless(&told)));
                }
                bar.show(&status);
                *last = status;
            }
            Heard::End if last.phase() == MigrationPhase::Rewriting => {
                return Err(Failure::cut_off(
                    "the store ended the answer before the records were rewritten",
                ));
            }
            Heard::End => return Ok(()),
            Heard::Interrupt => return Err(interrupted()),
        }
    }
}

/// What keeps a job from going on that does not rest; empty: nothing does.
fn hindrance(status: &MigrationStatus) -> &str {
    match status.phase() {
        MigrationPhase::Rewriting => &status.stopped_why,
        _ => "",
    }
}

fn interrupted() -> Failure {
    Failure::operation("interrupted")
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

/// How much was done of how much, at so many records a second, and the time left, or what keeps it from going on.
fn words(status: &MigrationStatus, rate: f64) -> String {
    let total = status.total.max(status.seen);
    let mut words = format!("{} of about {}", status.seen, records(total));
    let why = hindrance(status);
    if !why.is_empty() {
        words += &format!(", does not go on: {}", output::harmless(why));
    } else if rate >= 1.0 {
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
        status.stopped_why = "the disk is full".into();
        assert_eq!(
            words(&status, 200.0),
            "6000 of about 6000 records, does not go on: the disk is full, 2 failed"
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

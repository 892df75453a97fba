//! The third act: another version of the game takes over while it is played, and the documents get another form.
//!
//! The demo types what an operator would:
//!
//! ```text
//! stillpoint migrate apply DIR/game/migrations   from now on the store has the new form; version 1 plays on
//! cp shape_new.lua shape.lua                     whoever is started from now on is version 2
//! stillpoint restart --instance w1               one process goes ahead; both versions trade with each other
//! stillpoint restart --label code=1              the others follow, one after another
//! ```
//!
//! While the records are migrated processes are killed as ever, and again when all are version 2; the store is killed while
//! both versions play. Not all the time: the successor of a killed process would be version 2, and soon there would be
//! nobody left to trade with; a restart stops at a process that ends otherwise than it was told to; and a killed store
//! would cut a command off.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use indicatif::HumanCount;
use rmpv::Value;
use stillpoint_client::AdminClient;
use stillpoint_proto::v1::{MigrationPhase, MigrationStatus, SessionState};

use super::{
    NAMESPACE, SERVICE,
    chaos::{Chaos, Victims},
    directory::{Directory, SHAPE},
    operator::Running,
    store::Store,
    verdict::Verdict,
    workers::{self, Workers},
};
use crate::{failure::Failure, record::object};

/// Longest time that anything here may take.
const STEP_MAX: Duration = Duration::from_secs(60);

/// How long both versions play at least, and then the new one alone.
const SIDE_BY_SIDE: Duration = Duration::from_secs(1);
const ALONE: Duration = Duration::from_secs(1);

/// The trades that each process does meanwhile at least.
const TRADES_EACH: u64 = 10;

/// The versions of the game, as in `shape.lua` and `shape_new.lua`.
const OLD: &str = "1";
const NEW: &str = "2";

/// How many processes are of which version of the game.
type Versions = BTreeMap<String, usize>;

/// Everybody who plays in it.
pub struct Stage<'s, 'd> {
    /// Where it all lies.
    pub directory: &'d Directory,
    /// Kills, and watches.
    pub chaos: &'s mut Chaos<'d>,
    /// The store.
    pub store: &'s mut Store<'d>,
    /// The logic processes.
    pub workers: &'s mut Workers<'d>,
}

/// What came of it.
#[derive(Debug)]
pub struct ThirdAct {
    /// The collections, when all their records were migrated.
    migrations: Vec<MigrationStatus>,
    /// How long that took, from the command on.
    migrated_within: Duration,
    /// How long the restarts took.
    restarted_within: Duration,
    /// Who played when one process was restarted.
    side_by_side: Versions,
    /// Who played when all were.
    finally: Versions,
    /// Processes there were.
    workers: usize,
    /// Longest time without an acknowledged trade, from the first command on.
    longest_pause: Duration,
}

impl Stage<'_, '_> {
    /// Brings in version 2 of the game; none: it is another game, which may have other documents.
    pub fn migrate(mut self) -> Result<Option<ThirdAct>, Failure> {
        if self.directory.has_another_game() {
            return Ok(None);
        }
        let workers = self.workers.count();
        self.chaos.begin_act();
        let migrated_within = self.type_in(
            &["migrate", "apply", &self.directory.script("migrations")],
            Victims::Workers,
        )?;
        let (migrations, waited) = self.wait_until_migrated()?;

        // Whoever was killed just now must have a successor, and that must have read what he is: a restart is for those who
        // are there, and version 2 for those who are restarted.
        self.play_on(Duration::ZERO, Victims::Nobody)?;
        self.directory.replace(&SHAPE)?;
        let first = workers::name(0);
        let mut restarted_within = self.restart(&["--instance", &first])?;
        let side_by_side = self.versions()?;
        self.chaos.kill_store_as_planned(self.store)?;
        self.play_on(SIDE_BY_SIDE, Victims::Nobody)?;
        if workers > 1 {
            restarted_within += self.restart(&["--label", &format!("code={OLD}")])?;
        }
        let finally = self.versions()?;
        self.play_on(ALONE, Victims::Workers)?;
        Ok(Some(ThirdAct {
            migrations,
            migrated_within: migrated_within + waited,
            restarted_within,
            side_by_side,
            finally,
            workers,
            longest_pause: self.chaos.end_act(),
        }))
    }

    /// Restarts processes of the game. Whoever ends meanwhile is started again by the demo, as by a supervisor.
    fn restart(&mut self, which: &[&str]) -> Result<Duration, Failure> {
        let whom = ["restart", "--namespace", NAMESPACE, "--service", SERVICE];
        self.type_in(&[&whom, which].concat(), Victims::Nobody)
    }

    /// Runs a command on the operator's port while the game is played; gives how long it took.
    fn type_in(&mut self, command: &[&str], victims: Victims) -> Result<Duration, Failure> {
        let began = Instant::now();
        let admin = self.directory.admin_url();
        let mut running = Running::start(&[command, &["--admin", &admin]].concat())?;
        let ran = self.watch(victims, |_| running.ended())?;
        if !ran.succeeded {
            let typed = command.join(" ");
            return Err(Failure::operation(ran.stderr.trim_end()).at(typed));
        }
        Ok(began.elapsed())
    }

    /// Waits until no record has an older form; gives how it went, and how long it took.
    fn wait_until_migrated(&mut self) -> Result<(Vec<MigrationStatus>, Duration), Failure> {
        let began = Instant::now();
        let mut port = self.port()?;
        let migrations = self.watch(Victims::Workers, |_| {
            let migrations = port.migrations()?.migrations;
            if let Some(stopped) =
                (migrations.iter()).find(|migration| migration.phase() == MigrationPhase::Stopped)
            {
                let failure = Failure::operation(&stopped.stopped_why);
                return Err(failure.at(format!("the migration of {}", name_of(stopped))));
            }
            let are_through =
                (migrations.iter()).all(|migration| migration.phase() == MigrationPhase::Rewritten);
            Ok(are_through.then_some(migrations))
        })?;
        Ok((migrations, began.elapsed()))
    }

    /// Lets the game be played for so long, and until every process has traded for a while.
    fn play_on(&mut self, time: Duration, victims: Victims) -> Result<(), Failure> {
        let ends = Instant::now() + time;
        let mut wanted = None;
        self.watch(victims, |trades| {
            let wanted: &Vec<u64> =
                wanted.get_or_insert_with(|| trades.iter().map(|had| had + TRADES_EACH).collect());
            let have_traded = trades.iter().zip(wanted).all(|(have, want)| have >= want);
            Ok((have_traded && Instant::now() >= ends).then_some(()))
        })
    }

    /// Lets the game be played until `look`, which is told the trades of each process, finds something.
    fn watch<T>(
        &mut self,
        victims: Victims,
        mut look: impl FnMut(&[u64]) -> Result<Option<T>, Failure>,
    ) -> Result<T, Failure> {
        let began = Instant::now();
        let mut found = None;
        let is_over = |trades: &[u64]| {
            found = look(trades)?;
            Ok(found.is_some() || began.elapsed() > STEP_MAX)
        };
        self.chaos
            .watch(self.store, self.workers, victims, is_over)?;
        found.ok_or_else(|| {
            Failure::operation(format_args!(
                "the third act does not go on after {STEP_MAX:?}"
            ))
            .at(self.directory.typed())
        })
    }

    /// Which versions of the game are played.
    fn versions(&self) -> Result<Versions, Failure> {
        let mut versions = Versions::new();
        for session in self.port()?.sessions(NAMESPACE, SERVICE)?.sessions {
            if session.state() == SessionState::Attached {
                *versions.entry(session.code_version).or_default() += 1;
            }
        }
        Ok(versions)
    }

    fn port(&self) -> Result<AdminClient, Failure> {
        Ok(AdminClient::connect(&self.directory.admin_url(), STEP_MAX)?)
    }
}

impl ThirdAct {
    /// What is not as promised; `live` is what `check.lua` found.
    pub fn broken(&self, live: &Verdict) -> Vec<String> {
        let mut broken = Vec::new();
        for migration in &self.migrations {
            if migration.failed > 0 {
                let (failed, name) = (migration.failed, name_of(migration));
                broken.push(format!("{failed} records of {name} could not be migrated"));
            }
        }
        let all_new = Versions::from([(NEW.into(), self.workers)]);
        if self.finally != all_new {
            broken.push(format!(
                "in the end the processes are {}",
                in_words(&self.finally)
            ));
        }
        // A single process is never side by side with another.
        if self.workers > 1 && live.figure("trades_side_by_side") == 0 {
            broken.push(format!(
                "the processes were {}, and did not trade with each other",
                in_words(&self.side_by_side)
            ));
        }
        broken
    }

    /// For people: three lines.
    pub fn to_text(&self, live: &Verdict) -> String {
        let of_each = |migration: &MigrationStatus| {
            let (from, to) = (migration.from_version, migration.version);
            format!("{} from version {from} to {to}", collection_of(migration))
        };
        let collections: Vec<_> = self.migrations.iter().map(of_each).collect();
        let sum = |of: fn(&MigrationStatus) -> u64| self.migrations.iter().map(of).sum::<u64>();
        let (seen, rewritten) = (sum(|each| each.seen), sum(|each| each.rewritten));
        let count = |name| HumanCount(live.figure(name));
        let processes = match self.workers {
            1 => "1 process".into(),
            workers => format!("{workers} processes"),
        };
        format!(
            "{}, within {} ms; {} of {} records were rewritten by the store, the rest by trades
          {} went from version {OLD} of the game to {NEW}, one after another, within {} ms
          {} trades while both were played; {} times an old process changed what a new one had written; longest pause {:.2} s",
            collections.join(", "),
            self.migrated_within.as_millis(),
            HumanCount(rewritten),
            HumanCount(seen),
            processes,
            self.restarted_within.as_millis(),
            count("trades_side_by_side"),
            count("changes_of_newer_by_older"),
            self.longest_pause.as_secs_f64(),
        )
    }

    /// For programs.
    pub fn to_value(&self, live: &Verdict) -> Value {
        let figure = |name| Value::from(live.figure(name));
        let ms = |time: Duration| Value::from(time.as_millis() as u64);
        let migration = |migration: &MigrationStatus| {
            object([
                ("collection", collection_of(migration).into()),
                ("from_version", migration.from_version.into()),
                ("version", migration.version.into()),
                ("records", migration.seen.into()),
                ("rewritten", migration.rewritten.into()),
                ("failed", migration.failed.into()),
            ])
        };
        let versions = |versions: &Versions| {
            object((versions.iter()).map(|(version, count)| (version.as_str(), (*count).into())))
        };
        object([
            (
                "migrations",
                Value::Array(self.migrations.iter().map(migration).collect()),
            ),
            ("migrated_ms", ms(self.migrated_within)),
            ("restarted_ms", ms(self.restarted_within)),
            ("side_by_side", versions(&self.side_by_side)),
            ("finally", versions(&self.finally)),
            ("trades_side_by_side", figure("trades_side_by_side")),
            (
                "changes_of_newer_by_older",
                figure("changes_of_newer_by_older"),
            ),
            ("trades", figure("trades_by_last_code")),
            ("longest_pause_ms", ms(self.longest_pause)),
        ])
    }
}

fn collection_of(migration: &MigrationStatus) -> &str {
    (migration.collection.as_ref()).map_or("", |name| name.collection.as_str())
}

fn name_of(migration: &MigrationStatus) -> String {
    (migration.collection.as_ref()).map_or_else(String::new, |name| {
        format!("{}/{}", name.namespace, name.collection)
    })
}

/// `3 of version 1, 1 of version 2`.
fn in_words(versions: &Versions) -> String {
    let each: Vec<_> = (versions.iter())
        .map(|(version, count)| format!("{count} of version {version}"))
        .collect();
    each.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act(finally: Versions, failed: u64) -> ThirdAct {
        let shop = MigrationStatus {
            failed,
            ..MigrationStatus::default()
        };
        ThirdAct {
            migrations: vec![shop],
            migrated_within: Duration::ZERO,
            restarted_within: Duration::ZERO,
            side_by_side: Versions::from([(OLD.into(), 1), (NEW.into(), 1)]),
            finally,
            workers: 2,
            longest_pause: Duration::ZERO,
        }
    }

    #[test]
    fn an_act_that_did_not_come_to_its_end_is_broken() {
        let played = Verdict::read("trades_side_by_side 7\n", "", true);
        let all_new = Versions::from([(NEW.into(), 2)]);
        assert!(act(all_new.clone(), 0).broken(&played).is_empty());

        let one_old = Versions::from([(OLD.into(), 1), (NEW.into(), 1)]);
        assert_eq!(
            act(one_old, 0).broken(&played),
            ["in the end the processes are 1 of version 1, 1 of version 2"]
        );
        assert_eq!(act(all_new.clone(), 3).broken(&played).len(), 1);
        let never_met = Verdict::read("trades_side_by_side 0\n", "", true);
        assert_eq!(
            act(all_new, 0).broken(&never_met),
            [
                "the processes were 1 of version 1, 1 of version 2, and did not trade with each other"
            ]
        );
    }
}

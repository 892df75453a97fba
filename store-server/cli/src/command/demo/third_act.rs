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

use std::time::{Duration, Instant};

use stillpoint_client::AdminClient;
use stillpoint_proto::v1::{MigrationPhase, MigrationStatus, SessionState};

pub use self::outcome::ThirdAct;
use self::outcome::{OLD, Versions, name_of};
use super::{
    NAMESPACE, SERVICE,
    chaos::{Chaos, Victims},
    directory::{Directory, SHAPE},
    operator::Running,
    store::Store,
    workers::{self, Workers},
};
use crate::failure::Failure;

mod outcome;

/// Longest time that anything here may take, and for each process in addition: they are restarted one after another.
const STEP_MAX: Duration = Duration::from_secs(60);
const PROCESS_MAX: Duration = Duration::from_secs(2);

/// How long both versions play at least, and then the new one alone.
const SIDE_BY_SIDE: Duration = Duration::from_secs(1);
const ALONE: Duration = Duration::from_secs(1);

/// The trades that each process does meanwhile at least.
const TRADES_EACH: u64 = 10;

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
        self.versions()?;
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

    /// Lets the game be played for so long, and then on until every process has traded for a while: nobody is killed in that, or
    /// one that needs longer to start than it lives would never come to it.
    fn play_on(&mut self, time: Duration, victims: Victims) -> Result<(), Failure> {
        self.chaos
            .watch_for(time, self.store, self.workers, victims)?;
        let mut wanted = None;
        self.watch(Victims::Nobody, |trades| {
            let wanted: &Vec<u64> =
                wanted.get_or_insert_with(|| trades.iter().map(|had| had + TRADES_EACH).collect());
            let have_traded = trades.iter().zip(wanted).all(|(have, want)| have >= want);
            Ok(have_traded.then_some(()))
        })
    }

    /// Lets the game be played until `look`, which is told the trades of each process, finds something.
    fn watch<T>(
        &mut self,
        victims: Victims,
        mut look: impl FnMut(&[u64]) -> Result<Option<T>, Failure>,
    ) -> Result<T, Failure> {
        let began = Instant::now();
        let longest = STEP_MAX + PROCESS_MAX * self.workers.count() as u32;
        let mut found = None;
        let is_over = |trades: &[u64]| {
            found = look(trades)?;
            Ok(found.is_some() || began.elapsed() > longest)
        };
        self.chaos
            .watch(self.store, self.workers, victims, is_over)?;
        found.ok_or_else(|| {
            Failure::operation(format_args!(
                "the third act does not go on after {longest:?}"
            ))
            .at(self.directory.typed())
        })
    }

    /// Which versions of the game are played, once every process is there: one that has just been opened, or whose store was
    /// just killed, may not be yet.
    fn versions(&mut self) -> Result<Versions, Failure> {
        let mut port = self.port()?;
        let workers = self.workers.count();
        self.watch(Victims::Nobody, |_| {
            let mut versions = Versions::new();
            for session in port.sessions(NAMESPACE, SERVICE)?.sessions {
                if session.state() == SessionState::Attached {
                    *versions.entry(session.code_version).or_default() += 1;
                }
            }
            let are_there: usize = versions.values().sum();
            Ok((are_there == workers).then_some(versions))
        })
    }

    fn port(&self) -> Result<AdminClient, Failure> {
        Ok(AdminClient::connect(&self.directory.admin_url(), STEP_MAX)?)
    }
}

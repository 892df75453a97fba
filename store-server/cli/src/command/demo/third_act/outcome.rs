//! What came of the third act, and what of it is not as promised.

use std::{collections::BTreeMap, time::Duration};

use indicatif::HumanCount;
use rmpv::Value;
use stillpoint_proto::v1::MigrationStatus;

use super::super::verdict::Verdict;
use crate::record::object;

/// The versions of the game, as in `shape.lua` and `shape_new.lua`.
pub const OLD: &str = "1";
const NEW: &str = "2";

/// How many processes are of which version of the game.
pub type Versions = BTreeMap<String, usize>;

/// What came of it.
#[derive(Debug)]
pub struct ThirdAct {
    /// The collections, when all their records were migrated.
    pub migrations: Vec<MigrationStatus>,
    /// How long that took, from the command on.
    pub migrated_within: Duration,
    /// How long the restarts took.
    pub restarted_within: Duration,
    /// Who played when one process was restarted.
    pub side_by_side: Versions,
    /// Who played when all were.
    pub finally: Versions,
    /// Processes there were.
    pub workers: usize,
    /// Longest time without an acknowledged trade, from the first command on.
    pub longest_pause: Duration,
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
        // A record that a trade writes first is migrated by that.
        let rest = if rewritten < seen {
            ", the rest by trades"
        } else {
            ""
        };
        let count = |name| HumanCount(live.figure(name));
        let processes = match self.workers {
            1 => "1 process".into(),
            workers => format!("{workers} processes"),
        };
        format!(
            "{}, within {} ms; {} of {} records were rewritten by the store{}
          {} went from version {OLD} of the game to {NEW}, one after another, within {} ms
          {} trades while both were played; {} times an old process changed what a new one had written; longest pause {:.2} s",
            collections.join(", "),
            self.migrated_within.as_millis(),
            HumanCount(rewritten),
            HumanCount(seen),
            rest,
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

/// `game/player`.
pub fn name_of(migration: &MigrationStatus) -> String {
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

//! What the demo prints.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use indicatif::HumanCount;
use rmpv::Value;

use super::{
    chaos::{Plan, Toll},
    directory::Directory,
    second_act::Change,
    third_act::ThirdAct,
    verdict::Verdict,
};
use crate::{own_program::typed_name, record::object};

/// What came of the new rules.
#[derive(Debug)]
pub struct SecondAct {
    /// How they were brought in.
    pub change: Change,
    /// Longest time without an acknowledged trade afterwards.
    pub longest_pause: Duration,
}

/// What it all came to.
#[derive(Debug)]
pub struct Report {
    seconds: f64,
    workers: u32,
    seed: u64,
    directory: String,
    toll: Toll,
    second_act: Option<SecondAct>,
    third_act: Option<ThirdAct>,
    /// As found while the store that had taken the last trades was still running.
    live: Verdict,
    broken: Vec<String>,
}

impl Report {
    /// Puts together what happened and what the two checks found, the second after a last kill of the store.
    pub fn new(
        plan: &Plan,
        directory: &Directory,
        toll: Toll,
        second_act: Option<SecondAct>,
        third_act: Option<ThirdAct>,
        live: Verdict,
        replayed: Verdict,
    ) -> Self {
        let mut broken = live.broken.clone();
        let after = |text: &String| format!("after a last kill of the store: {text}");
        broken.extend(live.differences(&replayed).iter().map(after));
        broken.extend(replayed.broken.iter().map(after));
        if toll.worker_failures > 0 {
            broken.push(format!(
                "{} times a worker ended with an error: see {}/workers.log",
                toll.worker_failures,
                directory.typed()
            ));
        }
        if let Some(act) = &second_act {
            broken.extend(act.change.broken());
            let (new, all) = (
                live.figure("trades_by_last_rules"),
                live.figure("trades_present"),
            );
            if new == 0 || new == all {
                broken.push(format!("{new} of {all} trades went by the new rules"));
            }
        }
        if let Some(act) = &third_act {
            broken.extend(act.broken(&live));
        }
        let open = live.figure("trades_open");
        if open > 0 {
            broken.push(format!("{open} trades were brought to an end by nobody"));
        }
        Report {
            seconds: toll.time.as_secs_f64(),
            workers: plan.workers,
            seed: plan.seed,
            directory: directory.typed(),
            toll,
            second_act,
            third_act,
            live,
            broken,
        }
    }

    /// Whether nothing is broken.
    pub fn is_good(&self) -> bool {
        self.broken.is_empty()
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let count = |name| HumanCount(self.live.figure(name));
        let mut text = format!(
            "
trades    {} acknowledged, {} a second; {} in the store
          {} lay on the desk of a process that ended, and were brought to an end by its successor
killed    a logic process {} times, the store {} times; longest pause {:.2} s
{}
rules     {}
form      {}
gold      {} before, {} after
items     {} before, {} after
",
            count("trades_acknowledged"),
            HumanCount(self.trades_per_second() as u64),
            count("trades_present"),
            count("trades_taken_up"),
            self.toll.worker_kills,
            self.store_kills(),
            self.toll.longest_pause.as_secs_f64(),
            self.toll.successions,
            self.rules(),
            self.form(),
            count("gold_before"),
            count("gold"),
            count("items_before"),
            count("items"),
        );
        if self.is_good() {
            text += "verdict   good: no acknowledged trade is lost, and none was done twice\n";
        } else {
            text += "verdict   BROKEN:\n";
            for complaint in &self.broken {
                text += &format!("          {complaint}\n");
            }
            text += &format!("          (seed {})\n", self.seed);
        }
        text
    }

    fn rules(&self) -> String {
        let Some(act) = &self.second_act else {
            return "as they were: the second act is for the scripts as they are shipped".into();
        };
        format!(
            "changed {}; {} trades went by the new ones, longest pause {:.2} s",
            act.change.to_text(),
            HumanCount(self.live.figure("trades_by_last_rules")),
            act.longest_pause.as_secs_f64(),
        )
    }

    fn form(&self) -> String {
        match &self.third_act {
            Some(act) => act.to_text(&self.live),
            None => "as it was: the third act is for the scripts as they are shipped".into(),
        }
    }

    /// For programs.
    pub fn to_value(&self) -> Value {
        let figure = |name| Value::from(self.live.figure(name));
        let trades = object([
            ("started", figure("trades_started")),
            ("acknowledged", figure("trades_acknowledged")),
            ("refused", figure("trades_refused")),
            ("taken_up", figure("trades_taken_up")),
            ("cut_off", figure("trades_open")),
            ("cut_off_present", figure("trades_open_present")),
            ("present", figure("trades_present")),
        ]);
        object([
            ("good", self.is_good().into()),
            (
                "broken",
                Value::Array(
                    self.broken
                        .iter()
                        .map(|text| text.as_str().into())
                        .collect(),
                ),
            ),
            ("seconds", self.seconds.into()),
            ("workers", self.workers.into()),
            ("seed", self.seed.into()),
            ("trades", trades),
            ("trades_per_second", self.trades_per_second().into()),
            ("worker_kills", self.toll.worker_kills.into()),
            ("successions", self.toll.successions.to_value()),
            ("worker_failures", self.toll.worker_failures.into()),
            ("store_kills", self.store_kills().into()),
            (
                "longest_pause_ms",
                (self.toll.longest_pause.as_millis() as u64).into(),
            ),
            (
                "second_act",
                self.second_act.as_ref().map_or(Value::Nil, |act| {
                    object([
                        ("reload", act.change.to_value()),
                        ("trades", figure("trades_by_last_rules")),
                        (
                            "longest_pause_ms",
                            (act.longest_pause.as_millis() as u64).into(),
                        ),
                    ])
                }),
            ),
            (
                "third_act",
                (self.third_act.as_ref()).map_or(Value::Nil, |act| act.to_value(&self.live)),
            ),
            ("gold_before", figure("gold_before")),
            ("gold_after", figure("gold")),
            ("items_before", figure("items_before")),
            ("items_after", figure("items")),
            ("directory", self.directory.as_str().into()),
        ])
    }

    fn trades_per_second(&self) -> f64 {
        self.toll.trades as f64 / self.seconds
    }

    /// With the last one, before the second check.
    fn store_kills(&self) -> u64 {
        self.toll.store_kills + 1
    }
}

/// What is printed first.
pub fn opening(directory: &Directory, plan: &Plan) -> String {
    let store = if plan.kills_store {
        ", and so is the store"
    } else {
        ""
    };
    let mut text = format!(
        "{} Lua processes play a game; what they know is in a store in {}.\n\
         For {} s they are killed at random with SIGKILL{store}, and started again; some are\n\
         restarted as planned. A successor goes on with what its predecessor was about to do.\n\
         In the second act nobody is killed, and a rule of the game changes while they play.\n\
         In the third its documents get another form, and another version of the game takes over.\n",
        plan.workers,
        directory.typed(),
        plan.time.as_secs(),
    );
    for name in &directory.changed_scripts {
        text += &format!(
            "{}/game/{name} is used as you changed it; without the file you get the original back.\n",
            directory.typed()
        );
    }
    text
}

/// Whether a person can be expected to go on.
pub fn is_somebody_there() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// What to do next.
pub fn how_to_go_on(directory: &Directory, is_running: bool) -> String {
    let (program, dir) = (typed_name(), directory.typed());
    let (url, admin) = (directory.url(), directory.admin_url());
    let store = if is_running {
        "The store goes on running until you press Ctrl-C. In another terminal:\n".into()
    } else {
        format!(
            "The store is stopped, and its data kept. To go on:\n
  # the store again, in a terminal of its own
  {program} serve --data-dir {dir}/data
"
        )
    };
    format!(
        "
{store}
  # a script to change and to run again
  {program} lua {dir}/game/try.lua

  # what the game keeps in the store
  {program} scan player --namespace game --limit 3 --url {url}

  # how its documents came to their form
  {program} migrate status --admin {admin}

The game is in {dir}/game, in Lua: begin with main.lua and trade.lua.
"
    )
}

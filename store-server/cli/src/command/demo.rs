//! `stillpoint demo`: a small game whose processes are killed all the time, and lose nothing.
//!
//! The game is the one in `examples/game`, in Lua. Its workers and the store run as child processes; we kill them at
//! random, count what the workers say in their journals, and have the game's own `check.lua` judge in the end.
//!
//! - [`directory`]: where it all lies. [`store`], [`workers`]: the processes. [`journals`]: what the workers say, and
//!   [`successions`] what that means for who came after whom.
//! - [`chaos`]: the busy minute, with its progress line. [`second_act`]: new rules while the game is played.
//!   [`third_act`]: another version of the game, and another form of its documents. [`operator`]: what is typed.
//! - [`verdict`]: what `check.lua` found. [`report`]: what is printed.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use self::{
    chaos::{Chaos, Plan},
    directory::Directory,
    operator::run_to_end,
    report::{Report, SecondAct},
    store::Store,
    third_act::Stage,
    verdict::Verdict,
    workers::Workers,
};
use crate::{failure::Failure, interrupt::Interrupt, output};

mod chaos;
mod directory;
mod journals;
mod operator;
mod report;
mod second_act;
mod store;
mod successions;
mod third_act;
mod verdict;
mod workers;

/// The game's namespace, as in `world.lua`.
const NAMESPACE: &str = "game";

/// What the workers are instances of, as in `world.lua`.
const SERVICE: &str = "game";

/// How long the game is played by the new rules.
const SECOND_ACT: Duration = Duration::from_secs(3);

/// Longest time the workers may take to stop by themselves; a call of theirs waits up to 30 s for the store.
const STOP_MAX: Duration = Duration::from_secs(60);

const AFTER_HELP: &str = "\
The game's scripts are in DIR/game. Change them and run the demo again: it keeps
what you changed, and begins with a fresh store.

Examples:
  stillpoint demo
  stillpoint demo --seconds 60 --workers 8
  stillpoint demo --json
";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Options {
    /// How long processes are killed
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Logic processes that play the game
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,
    /// For the random choices: what is traded, what is killed and when [default: another each time]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=u64::from(u32::MAX)))]
    seed: Option<u64>,
    /// Where the store, the scripts and the journals go: a new directory, or the one of a demo before
    #[arg(long, default_value = "stillpoint-demo")]
    dir: PathBuf,
    /// Kill the logic processes only, never the store
    #[arg(long)]
    no_server_kill: bool,
}

/// Runs the demo.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let plan = Plan {
        time: Duration::from_secs(options.seconds),
        workers: options.workers,
        seed: options.seed.unwrap_or_else(|| rand::random::<u32>().into()),
        kills_store: !options.no_server_kill,
        is_quiet: json,
    };
    let interrupt = Interrupt::listen()?;
    let directory = Directory::prepare(&options.dir)?;
    if !json {
        output::print_text(&report::opening(&directory, &plan))?;
    }
    let mut store = Store::start(&directory, &interrupt)?;
    let report = play(&plan, &directory, &mut store, &interrupt)?;
    if json {
        output::print_json(&report.to_value(), false)?;
    } else {
        output::print_text(&report.to_text())?;
    }
    if !report.is_good() {
        return Err(Failure::operation("the demo's promise is broken")
            .hint("please report it, with the directory of the demo as it is"));
    }
    if json || !report::is_somebody_there() {
        store.stop()?;
        if !json {
            output::print_text(&report::how_to_go_on(&directory, false))?;
        }
        return Ok(());
    }
    output::print_text(&report::how_to_go_on(&directory, true))?;
    store.run_until_told(&interrupt)
}

/// Sets the world up, has it played and everybody killed, and checks it.
fn play<'d>(
    plan: &'d Plan,
    directory: &'d Directory,
    store: &mut Store<'d>,
    interrupt: &'d Interrupt,
) -> Result<Report, Failure> {
    let setup = run_to_end(
        &[
            "lua",
            &directory.script("setup.lua"),
            &plan.seed.to_string(),
        ],
        interrupt,
    )?;
    if !setup.succeeded {
        return Err(Failure::operation(setup.stderr.trim_end()).at("setup.lua"));
    }
    let mut workers = Workers::start(directory, plan)?;
    let mut chaos = Chaos::new(plan, directory, interrupt);
    chaos.run(store, &mut workers)?;
    // It may have been killed a moment ago.
    store.wait_until_it_serves(interrupt)?;
    // A process that leaves in the middle of a reload would make all go on by the old rules, which is right, and no act.
    chaos.settle(&mut workers)?;
    let change = second_act::change_rules(plan, directory, &mut workers, interrupt)?;
    let second_act = match change {
        Some(change) => Some(SecondAct {
            change,
            longest_pause: chaos.rest(store, &mut workers, SECOND_ACT)?,
        }),
        None => None,
    };
    let stage = Stage {
        directory,
        chaos: &mut chaos,
        store: &mut *store,
        workers: &mut workers,
    };
    let third_act = stage.migrate()?;
    stop_workers(directory, &mut workers, interrupt)?;
    let toll = chaos.toll(&workers)?;
    drop(workers);

    let live = check(directory, interrupt)?;
    store.kill()?;
    store.start_again(interrupt)?;
    let replayed = check(directory, interrupt)?;
    Ok(Report::new(
        plan, directory, toll, second_act, third_act, live, replayed,
    ))
}

/// Tells the workers by a record in the store that they shall stop, and takes it away when they have.
fn stop_workers(
    directory: &Directory,
    workers: &mut Workers<'_>,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let url = directory.url();
    let tell = |what: &[&str]| {
        let at = ["--url", &url, "--namespace", NAMESPACE];
        let ran = run_to_end(&[what, &at].concat(), interrupt)?;
        if ran.succeeded {
            Ok(())
        } else {
            Err(Failure::operation(ran.stderr.trim_end()).at(what.join(" ")))
        }
    };
    tell(&["put", "world/stop", "true"])?;
    workers.wait(STOP_MAX, interrupt)?;
    tell(&["del", "world/stop"])
}

fn check(directory: &Directory, interrupt: &Interrupt) -> Result<Verdict, Failure> {
    let ran = run_to_end(&["lua", &directory.script("check.lua")], interrupt)?;
    Ok(Verdict::read(&ran.stdout, &ran.stderr, ran.succeeded))
}

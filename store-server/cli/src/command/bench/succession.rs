//! Planned restarts: how long nobody answers between a process that leaves and its successor.
//!
//! The processes are `baton.lua` in the built-in Lua, each the successor of the one before, and nothing else runs. The gap
//! is from the last acknowledged write of the one to the first acknowledged write of the other, so all is in it that a
//! restart takes: to save, to leave the session, to open it, to claim the document, to write. Where the successor is only
//! started when the other one has ended, its program's start is in it, too.

use std::{process, time::Duration};

use super::{
    NAMESPACE,
    measured::{Latencies, latencies},
    script::Script,
    server::Target,
};
use crate::{failure::Failure, interrupt::Interrupt, progress};

const SCRIPT: &str = include_str!("baton.lua");

/// How long a successor that is to wait gets to ask for the session.
const ASKS_WITHIN: Duration = Duration::from_millis(30);

/// When the successor is started.
#[derive(Clone, Copy, Debug)]
pub enum Successor {
    /// While the other one is there still: it waits for the session.
    Waits,
    /// When the other one has ended.
    StartedAfterwards,
}

impl Successor {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Successor::Waits => "waits already",
            Successor::StartedAfterwards => "is started afterwards",
        }
    }
}

/// The gaps of many restarts, in nanoseconds.
pub fn measure(
    successor: Successor,
    restarts: u32,
    target: &Target,
    interrupt: &Interrupt,
) -> Result<Latencies, Failure> {
    let mut gaps = latencies();
    let bar = progress::steps("restarting", restarts.into());
    let mut holder = start(target)?;
    holder.expect("first")?;
    for _ in 0..restarts {
        interrupt.pause(Duration::ZERO)?;
        let (mut next, last) = match successor {
            Successor::Waits => {
                let next = start(target)?;
                interrupt.pause(ASKS_WITHIN)?;
                (next, leave(holder)?)
            }
            Successor::StartedAfterwards => {
                let last = leave(holder)?;
                (start(target)?, last)
            }
        };
        let first: f64 = next.expect_number("first")?;
        let gap = Duration::try_from_secs_f64(first - last)
            .map_err(|_| Failure::operation("two processes held one session at the same time"))?;
        gaps.saturating_record(gap.as_nanos() as u64);
        bar.inc(1);
        holder = next;
    }
    leave(holder)?;
    bar.finish_and_clear();
    Ok(gaps)
}

/// Starts a process; returns when its script runs.
fn start(target: &Target) -> Result<Script, Failure> {
    let mut script = Script::start(SCRIPT, &[&target.url, NAMESPACE, &instance()])?;
    script.expect("starts")?;
    Ok(script)
}

/// Has a process leave, and waits until it is gone; gives when its last write was acknowledged, in seconds.
fn leave(mut holder: Script) -> Result<f64, Failure> {
    holder.tell("leave")?;
    let last = holder.expect_number("last")?;
    holder.end()?;
    Ok(last)
}

/// An identity that no other bench has.
pub fn instance() -> String {
    format!("bench-{}", process::id())
}

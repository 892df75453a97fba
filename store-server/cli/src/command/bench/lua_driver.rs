//! A cell through the Lua client, in a process of its own with the built-in Lua.
//!
//! The script `workload.lua` is told what to do on its standard input. When it is warm it says so, waits for a word, so
//! that the server's counters can be read, measures, and prints its latencies.

use std::{fmt::Write as _, time::Duration};

use super::{
    NAMESPACE,
    measured::{Counters, Measured, latencies},
    plan::{Cell, Change, Plan},
    records::Records,
    script::{Script, garbled},
    server::Target,
};
use crate::failure::Failure;

const SCRIPT: &str = include_str!("workload.lua");

/// Measures a cell.
pub fn measure(plan: &Plan, cell: &Cell, target: &Target) -> Result<Measured, Failure> {
    let mut admin = target.connect_admin()?;
    let mut script = start(plan, cell, target)?;
    script.expect("warm")?;
    let before = Counters::read(&mut admin)?;
    script.tell("go")?;
    let seconds = script.expect_number("done")?;
    let server = Counters::read(&mut admin)?.since(before);
    let mut measured = Measured {
        latencies: latencies(),
        elapsed: Duration::from_secs_f64(seconds),
        server,
    };
    loop {
        let line = script.line()?;
        if line == "end" {
            return Ok(measured);
        }
        let (us, count) = line
            .split_once(' ')
            .and_then(|(us, count)| Some((us.parse::<u64>().ok()?, count.parse::<u64>().ok()?)))
            .ok_or_else(|| garbled(&line))?;
        measured.latencies.saturating_record_n(us * 1000, count);
    }
}

fn start(plan: &Plan, cell: &Cell, target: &Target) -> Result<Script, Failure> {
    let records = Records::new(cell.size, plan.records);
    let write = match cell.workload.change() {
        Change::Put => "put",
        Change::Update | Change::ReadModifyWrite => "update",
    };
    let mut script = Script::start(
        SCRIPT,
        &[
            &target.url,
            NAMESPACE,
            &records.collection,
            write,
            &cell.in_flight.to_string(),
            &plan.warm_up.as_secs_f64().to_string(),
            &plan.time.as_secs_f64().to_string(),
            &records.padding.to_string(),
        ],
    )?;
    script.tell(&picks(&records, cell))?;
    Ok(script)
}

/// The operations, on one line: the record's number from 1, negative if it is written.
fn picks(records: &Records, cell: &Cell) -> String {
    let mut line = String::new();
    for pick in records.picks(cell.workload) {
        let sign = if pick.is_read { "" } else { "-" };
        let number = pick.record + 1;
        write!(line, "{sign}{number} ").expect("a String takes everything");
    }
    line
}

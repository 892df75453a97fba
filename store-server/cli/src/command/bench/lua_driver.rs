//! A cell through the Lua client, in a process of its own with the built-in Lua.
//!
//! The script `workload.lua` is told what to do on its standard input. When it is warm it says so, waits for a word, so
//! that the server's counters can be read, measures, and prints its latencies.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Write as _},
    process::{ChildStdin, ChildStdout, Stdio},
    time::Duration,
};

use super::{
    NAMESPACE,
    measured::{Counters, Measured, latencies},
    plan::{Cell, Change, Plan},
    records::Records,
    server::Target,
};
use crate::{
    failure::Failure,
    own_program::{self, OwnProcess},
};

const SCRIPT: &str = include_str!("workload.lua");

/// Measures a cell.
pub fn measure(plan: &Plan, cell: &Cell, target: &Target) -> Result<Measured, Failure> {
    let mut admin = target.connect_admin()?;
    let mut script = Script::start(plan, cell, target)?;
    script.expect("warm")?;
    let before = Counters::read(&mut admin)?;
    script.tell("go\n")?;
    let elapsed = script.expect("done")?;
    let server = Counters::read(&mut admin)?.since(before);
    let seconds: f64 = elapsed.parse().map_err(|_| garbled(&elapsed))?;
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

/// The script, running.
struct Script {
    /// Ends with this.
    _process: OwnProcess,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Script {
    fn start(plan: &Plan, cell: &Cell, target: &Target) -> Result<Script, Failure> {
        let records = Records::new(cell.size, plan.records);
        let mut command = own_program::command()?;
        let write = match cell.workload.change() {
            Change::Put => "put",
            Change::Update | Change::ReadModifyWrite => "update",
        };
        command
            .args(["lua", "-e", SCRIPT])
            .args([&target.url, NAMESPACE, &records.collection, write])
            .arg(cell.in_flight.to_string())
            .arg(plan.warm_up.as_secs_f64().to_string())
            .arg(plan.time.as_secs_f64().to_string())
            .arg(records.padding.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = OwnProcess::start(&mut command)?;
        let (input, output) = process.take_pipes()?;
        let mut script = Script {
            _process: process,
            input,
            output: BufReader::new(output),
        };
        script.tell(&picks(&records, cell))?;
        Ok(script)
    }

    fn tell(&mut self, text: &str) -> Result<(), Failure> {
        // A script that has ended is found out, and its error told, at the next line.
        let _ = self.input.write_all(text.as_bytes());
        Ok(self.input.flush()?)
    }

    /// The next line.
    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            // It has said why on standard error, which is ours.
            return Err(Failure::operation("the script ended early"));
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }

    /// The rest of the next line, which must begin with this word.
    fn expect(&mut self, word: &str) -> Result<String, Failure> {
        let line = self.line()?;
        let rest = line.strip_prefix(word).ok_or_else(|| garbled(&line))?;
        Ok(rest.trim().into())
    }
}

/// The operations, on one line: the record's number from 1, negative if it is written.
fn picks(records: &Records, cell: &Cell) -> String {
    let mut line = String::new();
    for pick in records.picks(cell.workload) {
        let sign = if pick.is_read { "" } else { "-" };
        let number = pick.record + 1;
        write!(line, "{sign}{number} ").expect("a String takes everything");
    }
    line.push('\n');
    line
}

fn garbled(line: &str) -> Failure {
    Failure::operation(format_args!("the script said {line:?}"))
}

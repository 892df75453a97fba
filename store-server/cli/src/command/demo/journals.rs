//! The workers' journals, read while they are written. `journal.lua` says what the lines mean.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
};

use super::{
    chaos::Plan,
    directory::Directory,
    successions::{How, Successions},
    workers,
};

/// All journals, each read up to some place.
#[derive(Debug)]
pub struct Journals(Vec<Journal>);

#[derive(Debug)]
struct Journal {
    path: PathBuf,
    read_to: u64,
    /// Trades that were acknowledged.
    trades: u64,
    /// The trade that was acknowledged last: a successor may say it once more.
    done: String,
    /// The worker's last answer, in seconds by the machine's clock; of this process or of the one before.
    answered_at: Option<f64>,
    /// How the process before ended, until its successor has its first answer.
    gap: Option<How>,
    /// The process has said that it leaves.
    leaves: bool,
}

impl Journals {
    /// The journals of all workers; they need not be there yet.
    pub fn new(plan: &Plan, directory: &Directory) -> Self {
        let journal = |number| Journal {
            path: directory
                .path("journal")
                .join(format!("{}.log", workers::name(number))),
            read_to: 0,
            trades: 0,
            done: String::new(),
            answered_at: None,
            gap: None,
            leaves: false,
        };
        Journals((0..plan.workers as usize).map(journal).collect())
    }

    /// How many trades were acknowledged since the last call; notes the successions meanwhile.
    pub fn read_new(&mut self, successions: &mut Successions) -> io::Result<u64> {
        let mut trades = 0;
        for journal in &mut self.0 {
            for line in journal.new_lines()?.lines() {
                let is_trade = u64::from(journal.is_trade(line, successions));
                journal.trades += is_trade;
                trades += is_trade;
            }
        }
        Ok(trades)
    }

    /// The trades of each worker so far, as of the last call of `read_new`.
    pub fn trades(&self) -> Vec<u64> {
        self.0.iter().map(|journal| journal.trades).collect()
    }
}

impl Journal {
    /// Notes what the line says; whether that is a trade that was not acknowledged before.
    fn is_trade(&mut self, line: &str, successions: &mut Successions) -> bool {
        let mut words = line.split(' ');
        let what = words.next().unwrap_or_default();
        let (id, at) = (words.next().unwrap_or_default(), words.next());
        match what {
            "life" => {
                let how = match std::mem::take(&mut self.leaves) {
                    true => How::Planned,
                    false => How::Killed,
                };
                if at == Some("true") {
                    successions.count(how);
                }
                // The gap of one that was killed before it had an answer is part of its successor's.
                self.gap = self.answered_at.is_some().then_some(how);
                false
            }
            "leave" => {
                self.leaves = true;
                false
            }
            "done" | "refused" => {
                let at = at.and_then(|at| at.parse::<f64>().ok());
                if let (Some(how), Some(before), Some(at)) = (self.gap.take(), self.answered_at, at)
                {
                    successions.note_gap(how, at - before);
                }
                self.answered_at = at;
                let is_new = what == "done" && self.done != id;
                if is_new {
                    self.done = id.into();
                }
                is_new
            }
            _ => false,
        }
    }

    /// The whole lines that came since the last call.
    fn new_lines(&mut self) -> io::Result<String> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
            Err(error) => return Err(error),
        };
        let mut text = Vec::new();
        file.seek(SeekFrom::Start(self.read_to))?;
        file.read_to_end(&mut text)?;
        let whole_lines = text
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        self.read_to += whole_lines as u64;
        text.truncate(whole_lines);
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

//! The workers' journals, read while they are written.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
};

use super::{chaos::Plan, directory::Directory, workers};

/// All journals, each read up to some place.
#[derive(Debug)]
pub struct Journals(Vec<Journal>);

#[derive(Debug)]
struct Journal {
    path: PathBuf,
    read_to: u64,
}

impl Journals {
    /// The journals of all workers; they need not be there yet.
    pub fn new(plan: &Plan, directory: &Directory) -> Self {
        let journal = |number| Journal {
            path: directory
                .path("journal")
                .join(format!("{}.log", workers::name(number))),
            read_to: 0,
        };
        Journals((0..plan.workers as usize).map(journal).collect())
    }

    /// How many trades were acknowledged since the last call.
    pub fn count_new(&mut self) -> io::Result<u64> {
        self.0.iter_mut().map(Journal::count_new).sum()
    }
}

impl Journal {
    fn count_new(&mut self) -> io::Result<u64> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
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
        let lines = text[..whole_lines].split(|&byte| byte == b'\n');
        Ok(lines.filter(|line| line.starts_with(b"done ")).count() as u64)
    }
}

//! The file that is loaded, line by line.

use std::io::{BufRead, Read};

use indicatif::ProgressBar;

use crate::{
    dump_format::{Line, read_line},
    failure::Failure,
};

/// Longest line that is read: beyond any record a store takes, and a bound on memory.
const LINE_BYTES_MAX: u64 = 256 << 20;

/// The lines of a dump, with their numbers.
pub struct Lines {
    reader: Box<dyn BufRead>,
    bar: ProgressBar,
    /// Of the line that was read last, from 1 on.
    pub number: u64,
    text: String,
}

impl Lines {
    /// Those of a reader; the bar counts them where it does not count bytes.
    pub fn new(reader: Box<dyn BufRead>, bar: ProgressBar) -> Self {
        Lines {
            reader,
            bar,
            number: 0,
            text: String::new(),
        }
    }

    /// The next line; `None` at the end of the file.
    pub fn next_line(&mut self) -> Result<Option<Line>, Failure> {
        self.number += 1;
        self.text.clear();
        let place = format!("line {}", self.number);
        let len = (&mut self.reader)
            .take(LINE_BYTES_MAX)
            .read_line(&mut self.text)
            .map_err(|error| Failure::usage(error).at(&place))?;
        if len as u64 == LINE_BYTES_MAX {
            return Err(Failure::usage("the line is longer than 256 MiB").at(&place));
        }
        if len == 0 {
            return Ok(None);
        }
        if self.bar.length().is_none() {
            self.bar.inc(1);
        }
        let line = read_line(&self.text);
        line.map(Some)
            .map_err(|error| Failure::usage(error).at(&place))
    }
}

//! A script in the built-in Lua, in a process of its own, that we talk with over its standard input and output, a line at
//! a time.

use std::{
    io::{BufRead, BufReader, Write},
    process::{ChildStdin, ChildStdout, Stdio},
    str::FromStr,
};

use crate::{
    failure::Failure,
    own_program::{self, OwnProcess},
};

/// A script, running; killed when dropped.
#[derive(Debug)]
pub struct Script {
    _process: OwnProcess,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Script {
    /// Starts this code with these arguments.
    pub fn start(code: &str, args: &[&str]) -> Result<Script, Failure> {
        let mut command = own_program::command()?;
        command
            .args(["lua", "-e", code])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = OwnProcess::start(&mut command)?;
        let (input, output) = process.take_pipes()?;
        Ok(Script {
            _process: process,
            input,
            output: BufReader::new(output),
        })
    }

    /// Says a line.
    pub fn tell(&mut self, line: &str) -> Result<(), Failure> {
        // A script that has ended is found out, and its error told, at the next line.
        let _ = writeln!(self.input, "{line}");
        Ok(self.input.flush()?)
    }

    /// The next line that it says.
    pub fn line(&mut self) -> Result<String, Failure> {
        self.line_or_end()?
            // It has said why on standard error, which is ours.
            .ok_or_else(|| Failure::operation("the script ended early"))
    }

    /// The rest of the next line, which must begin with this word.
    pub fn expect(&mut self, word: &str) -> Result<String, Failure> {
        let line = self.line()?;
        let rest = line.strip_prefix(word).ok_or_else(|| garbled(&line))?;
        Ok(rest.trim().into())
    }

    /// The number behind this word on the next line.
    pub fn expect_number<T: FromStr>(&mut self, word: &str) -> Result<T, Failure> {
        let text = self.expect(word)?;
        text.parse().map_err(|_| garbled(&text))
    }

    /// Waits until it has ended.
    pub fn end(mut self) -> Result<(), Failure> {
        match self.line_or_end()? {
            None => Ok(()),
            Some(line) => Err(garbled(&line)),
        }
    }

    fn line_or_end(&mut self) -> Result<Option<String>, Failure> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        line.truncate(line.trim_end().len());
        Ok(Some(line))
    }
}

/// What it said was not what it should say.
pub fn garbled(line: &str) -> Failure {
    Failure::operation(format_args!("the script said {line:?}"))
}

//! A terminal for the program, for what is asked on one.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// A terminal: our end, and that of the program.
fn terminal() -> (File, OwnedFd) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let path = ptsname(&ours, Vec::new()).unwrap();
    let mut both_ways = File::options();
    both_ways.read(true).write(true);
    let theirs = both_ways.open(path.to_str().unwrap()).unwrap();
    (ours.into(), theirs.into())
}

/// Runs a command that asks for a yes, and types `answer` then; gives the exit code, the question and what was printed.
pub fn ask_on_a_terminal(command: &mut Command, answer: &str) -> (i32, String, String) {
    type_on_a_terminal(command, "[y/N] ", answer)
}

/// Runs a command that asks, and types `answer` once it has said `prompt`; gives the exit code, what it said up to there, and
/// what was printed.
pub fn type_on_a_terminal(
    command: &mut Command,
    prompt: &str,
    answer: &str,
) -> (i32, String, String) {
    let (mut ours, theirs) = terminal();
    let mut process = command
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut asked = Vec::new();
    let mut stderr = process.stderr.take().unwrap();
    while !asked.ends_with(prompt.as_bytes()) {
        let mut byte = [0];
        let told = String::from_utf8_lossy(&asked).into_owned();
        assert_eq!(stderr.read(&mut byte).unwrap(), 1, "no question: {told}");
        asked.push(byte[0]);
    }
    writeln!(ours, "{answer}").unwrap();
    let ended = process.wait_with_output().unwrap();
    let printed = String::from_utf8(ended.stdout).unwrap();
    let asked = String::from_utf8(asked).unwrap();
    (ended.status.code().unwrap(), asked, printed)
}

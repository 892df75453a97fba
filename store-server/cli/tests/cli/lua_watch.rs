//! `stillpoint lua --watch`: a developer edits files while the script runs.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::server::program;

/// Longest time until something that was edited shows.
const PATIENCE: Duration = Duration::from_secs(30);

/// A script that says what its module says, again and again.
const MAIN: &str = r#"
    require("stillpoint.reload").setup()
    local greeting = require "greeting"
    local store = require("stillpoint").memory()
    print("begins " .. arg[1])
    while true do
      print(greeting.text())
      io.stdout:flush()
      store:sleep(0.02)
    end
"#;

/// A folder with a script that runs and is watched.
struct Session {
    folder: TempDir,
    process: Child,
    said: Receiver<String>,
}

impl Session {
    fn start(main: &str, greeting: &str) -> Session {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("main.lua"), main).unwrap();
        fs::write(folder.path().join("greeting.lua"), greeting).unwrap();
        let mut process = program()
            .args(["lua", "--watch"])
            .arg(folder.path().join("main.lua"))
            .arg("w1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, said) = mpsc::channel();
        let err = BufReader::new(process.stderr.take().unwrap());
        let out = BufReader::new(process.stdout.take().unwrap());
        let to_too = to.clone();
        thread::spawn(move || {
            err.lines()
                .map_while(Result::ok)
                .try_for_each(|l| to_too.send(l))
        });
        thread::spawn(move || {
            out.lines()
                .map_while(Result::ok)
                .try_for_each(|l| to.send(l))
        });
        Session {
            folder,
            process,
            said,
        }
    }

    /// Writes a file as an editor does.
    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::write(path.with_extension("new"), text).unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    }

    /// Waits until a line with this text is said.
    fn hears(&self, text: &str) {
        self.hears_all(&[text]);
    }

    /// Waits until lines with these texts are said, in any order: what is printed and what is complained of come on two ways.
    fn hears_all(&self, texts: &[&str]) {
        let (mut missing, mut last) = (texts.to_vec(), None);
        let ends = Instant::now() + PATIENCE;
        while !missing.is_empty() {
            let Ok(line) = self.said.recv_timeout(ends - Instant::now().min(ends)) else {
                panic!("{missing:?} was never said; last: {last:?}");
            };
            missing.retain(|text| !line.contains(text));
            last = Some(line);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_module_that_is_edited_is_reloaded_while_the_script_goes_on() {
    let session = Session::start(MAIN, "return { text = function() return 'hello' end }");
    session.hears("begins");
    session.hears("hello");
    session.write(
        "greeting.lua",
        "return { text = function() return 'good day' end }",
    );
    session.hears("[watch] reloaded");
    session.hears("good day");

    session.write("greeting.lua", "return {");
    session.hears("greeting.lua");
    session.hears("good day");
    session.write(
        "greeting.lua",
        "return { text = function() return 'good night' end }",
    );
    session.hears("good night");
}

#[test]
fn a_script_that_is_edited_is_run_again() {
    let session = Session::start(MAIN, "return { text = function() return 'hello' end }");
    session.hears("begins w1");
    session.hears("hello");
    session.write("main.lua", &MAIN.replace("begins", "begins anew"));
    session.hears_all(&["it is run again", "begins anew w1"]);
}

#[test]
fn a_script_that_failed_is_run_again_when_the_file_is_mended() {
    let session = Session::start(MAIN, "error 'not yet'");
    session.hears("not yet");
    session.hears("run again when a file changes");
    session.write(
        "greeting.lua",
        "return { text = function() return 'now' end }",
    );
    session.hears("begins");
    session.hears("now");

    session.write("main.lua", "local x = = 1");
    session.hears("main.lua:1:");
    session.write("main.lua", "print 'done'");
    session.hears_all(&["done", "has ended"]);
}

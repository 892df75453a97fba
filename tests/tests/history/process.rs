//! The processes of a history's clients, seen from the test.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    thread::{self, JoinHandle},
};

use parking_lot::{Condvar, Mutex};

use crate::{
    client::{Line, TASK, Task},
    language::Call,
};

/// Starts a history's clients and counts their answers.
pub struct Crew {
    url: String,
    namespace: String,
    started: u64,
    progress: Arc<Progress>,
}

/// A client's process; killed when dropped.
pub struct Process {
    child: Child,
    operations: usize,
    /// Reads what it says until it has ended.
    listener: Option<JoinHandle<Vec<Call>>>,
}

/// How far the clients are.
#[derive(Default)]
struct Progress {
    state: Mutex<ProgressState>,
    changed: Condvar,
}

#[derive(Default)]
struct ProgressState {
    answers: usize,
    running: usize,
}

impl Crew {
    /// Nobody yet.
    pub fn new(url: String, namespace: &str) -> Self {
        Crew {
            url,
            namespace: namespace.into(),
            started: 0,
            progress: Arc::default(),
        }
    }

    /// Starts a client.
    pub fn start(&mut self, seed: u64, operations: usize) -> Process {
        self.started += 1;
        let task = Task {
            url: self.url.clone(),
            namespace: self.namespace.clone(),
            client: self.started,
            seed,
            operations,
        };
        let task = serde_json::to_string(&task).expect("tasks can be written");
        // This program again, running only the test that is a client.
        let program = env::current_exe().expect("this test is a file");
        let mut child = Command::new(program)
            .args(["client_process", "--exact", "--ignored", "--nocapture"])
            .env(TASK, task)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts again");
        let stdout = child.stdout.take().expect("it has a stdout");
        let progress = self.progress.clone();
        progress.state.lock().running += 1;
        let listener = thread::spawn(move || {
            let calls = listen(stdout, &progress);
            progress.update(|state| state.running -= 1);
            calls
        });
        Process {
            child,
            operations,
            listener: Some(listener),
        }
    }

    /// Waits until so many answers have come, or no client runs any more.
    pub fn wait_for_answers(&self, count: usize) {
        let mut state = self.progress.state.lock();
        self.progress.changed.wait_while(&mut state, |state| {
            state.answers < count && state.running > 0
        });
    }
}

impl Process {
    /// Ends it with SIGKILL, wherever it is; gives what it has done and how many operations are left.
    pub fn kill(mut self) -> (Vec<Call>, usize) {
        self.child.kill().expect("it can be killed");
        let calls = self.calls();
        let left = self.operations - calls.len();
        (calls, left)
    }

    /// Waits until it has done all.
    pub fn finish(mut self) -> Vec<Call> {
        let calls = self.calls();
        let status = self.child.wait().expect("it is our child");
        assert!(status.success(), "a client ended with {status}");
        calls
    }

    fn calls(&mut self) -> Vec<Call> {
        let listener = self.listener.take().expect("it is asked once");
        listener.join().expect("the listener has heard all")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Progress {
    fn update(&self, change: impl FnOnce(&mut ProgressState)) {
        change(&mut self.state.lock());
        self.changed.notify_all();
    }
}

/// Reads what a client says until its end. Only the last of its calls can be without an answer.
fn listen(stdout: ChildStdout, progress: &Progress) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.expect("it says UTF-8");
        if !line.starts_with('{') {
            // The test's harness speaks.
            continue;
        }
        match serde_json::from_str(&line).expect("a line is written in one piece") {
            Line::Invoked { at: invoked, op } => calls.push(Call {
                op,
                invoked,
                answered: None,
            }),
            Line::Answered { at, told } => {
                let call = calls.last_mut().expect("an answer has a question");
                call.answered = Some((at, told));
                progress.update(|state| state.answers += 1);
            }
        }
    }
    calls
}

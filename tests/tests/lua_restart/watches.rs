//! Watches, of both forms, while the store dies and stops under them and their writer.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use stillpoint_client::{
    CallOptions, Client, Config, Reply,
    v1::{Op, PutOp, RecordKey, op, op_result::Kind},
};
use stillpoint_tests::{
    lua_modules::LuaVersion,
    lua_process::Process,
    server::{Server, Setup},
};

use crate::Ending;

/// How many changes are to be seen between two ends of the server.
const BETWEEN: u64 = 50;

pub fn watches_tell_every_change_once_and_in_order_over_a_kill_and_a_stop(version: LuaVersion) {
    let setup = Setup::new();
    let server = setup.start();
    let writer = Writer::new(&server);
    let Some(mut watcher) = Watcher::start(version, &server) else {
        return;
    };
    let server = thread::scope(|scope| {
        // Dropped before the writer is waited for, also when something fails.
        let stop = StopOnDrop(&writer.stop);
        let writing = scope.spawn(|| writer.write());
        let endings = [Ending::Kill, Ending::Stop, Ending::Kill];
        let server = endings.into_iter().fold(server, |server, ending| {
            // The writer and both watches are in full swing, before and after.
            watcher.sees(writer.written.load(Relaxed) + BETWEEN);
            ending.restart(server, &setup)
        });
        watcher.sees(writer.written.load(Relaxed) + BETWEEN);
        drop(stop);
        let revisions = writing.join().expect("the writer did not fail");
        watcher.saw_exactly(&revisions);
        server
    });

    // A later process goes on behind the last that this one has handled: the cursors have outlived the server, too.
    let server = Ending::Kill.restart(server, &setup);
    writer.stop.store(false, Relaxed);
    let watcher = thread::scope(|scope| {
        let stop = StopOnDrop(&writer.stop);
        let writing = scope.spawn(|| writer.write());
        let mut watcher = Watcher::start(version, &server).expect("the same Lua is here again");
        watcher.sees(BETWEEN);
        drop(stop);
        let revisions = writing.join().expect("the writer did not fail");
        watcher.saw_exactly(&revisions);
        watcher
    });
    watcher.process.end();
}

/// Writes 1, 2, 3 and so on, one after another, whatever becomes of the server, and 0 in the end.
struct Writer {
    client: Client,
    stop: AtomicBool,
    written: AtomicU64,
}

impl Writer {
    fn new(server: &Server) -> Writer {
        let config = Config::new(server.url(), "spec");
        Writer {
            client: Client::connect(config).expect("the server answers"),
            stop: AtomicBool::new(false),
            written: AtomicU64::new(0),
        }
    }

    /// Gives the revisions of all that it wrote.
    fn write(&self) -> Vec<u64> {
        self.written.store(0, Relaxed);
        let mut revisions = Vec::new();
        while !self.stop.load(Relaxed) {
            let number = revisions.len() as u64 + 1;
            revisions.push(self.put(number));
            self.written.store(number, Relaxed);
        }
        revisions.push(self.put(0));
        revisions
    }

    fn put(&self, number: u64) -> u64 {
        let mut value = Vec::new();
        rmpv::encode::write_value(&mut value, &number.into()).expect("memory is written");
        let op = Op {
            kind: Some(op::Kind::Put(PutOp {
                key: Some(RecordKey {
                    collection: "number".into(),
                    key: (number % 7).to_string().into(),
                }),
                value: value.into(),
                ..PutOp::default()
            })),
        };
        let options = CallOptions {
            deadline: Some(Duration::from_secs(60)),
            ..CallOptions::default()
        };
        match self.client.call(op, options) {
            Ok(Reply {
                kind: Kind::Put(done),
                ..
            }) => done.mod_rev,
            other => panic!("not the answer to a put: {other:?}"),
        }
    }
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// The process with the watches, and what they have told: number and revision.
struct Watcher {
    process: Process,
    callback: Vec<(u64, u64)>,
    iterator: Vec<(u64, u64)>,
}

impl Watcher {
    fn start(version: LuaVersion, server: &Server) -> Option<Watcher> {
        let session = [("STILLPOINT_SPEC_INSTANCE", "a1")];
        let mut watcher = Watcher {
            process: Process::start(version, "restart_watches.lua", server, &session)?,
            callback: Vec::new(),
            iterator: Vec::new(),
        };
        while watcher.hears() != "ready" {}
        Some(watcher)
    }

    /// Takes in a line.
    fn hears(&mut self) -> String {
        let line = self.process.says().expect("it goes on");
        let words: Vec<_> = line.split('\t').collect();
        if let [which, number, revision] = words[..] {
            let parse = |text: &str| text.parse().expect("a number");
            let seen = (parse(number), parse(revision));
            match which {
                "callback" => self.callback.push(seen),
                "iterator" => self.iterator.push(seen),
                other => panic!("no watch of ours: {other}"),
            }
        }
        line
    }

    /// Waits until both watches have told so much.
    fn sees(&mut self, count: u64) {
        while (self.callback.len().min(self.iterator.len()) as u64) < count {
            self.hears();
        }
    }

    /// Waits until the process has closed its watches; all that they told is what was written, in order.
    fn saw_exactly(&mut self, revisions: &[u64]) {
        while self.hears() != "closed" {}
        let numbers = (1..revisions.len() as u64).chain([0]);
        let written: Vec<_> = numbers.zip(revisions.iter().copied()).collect();
        assert_eq!(self.callback, written, "the watch with a callback");
        assert_eq!(self.iterator, written, "the watch that is gone over");
    }
}

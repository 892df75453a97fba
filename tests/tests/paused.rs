//! A process that sleeps through the end of its session, and goes on as if nothing had happened: nothing that it writes
//! then is taken, be it the one who wakes late or its buffers. It is told so.
//!
//! SIGSTOP stands for whatever holds up a process for longer than its session lives: a debugger, swapping, a virtual
//! machine that is moved.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use stillpoint_client::{
    CallOptions, Client,
    v1::{GetOp, GetResult, Op, PutOp, RecordKey, op, op_result},
};
use stillpoint_tests::server::{Server, program};

/// Owns an account, and goes on when it is told to. With a session that lives for a second, and an autosave that never
/// comes by itself: `add` stays in the buffer until `save`.
const OWNER: &str = r#"
local stillpoint = require "stillpoint"
local function say(...)
  print(...)
  io.flush()
end
local function outcome(ok, err)
  return ok and "applied" or err.reason
end

local store = assert(stillpoint.connect {
  ..., namespace = "world", service = "bank", instance = "one", ttl = 1, session_wait = 60, deadline = 20,
})
local accounts = store:collection "account"
local fenced
store:on("fenced", function(ev)
  fenced = ev
end)
local ann = assert(accounts:claim("ann", { autosave = 3600 }))
if ann.value == nil then
  assert(ann:put { gold = 10 })
  assert(ann:save())
end
assert(ann:add("gold", 1))
say("owns", ann.value.gold)

io.read "l"
say("save", outcome(ann:save()))
io.read "l"
local ok, err = ann:add("gold", 100)
if ok then
  ok, err = ann:save()
end
say("add", outcome(ok, err))
say("put", outcome(accounts:put("ann", { gold = -1 })))
say("delete", outcome(accounts:delete "ann"))
say("another record", outcome(accounts:put("bob", { gold = -1 })))
say("txn", outcome(store:txn(function(tx)
  tx:put("account", "eve", { gold = -1 })
end)))
while io.read "l" == "are you fenced?" do
  while not fenced do
    store:poll(1)
  end
  say("fenced", store:session().state, (ann:owned()))
end
"#;

#[test]
fn late_writes_of_a_paused_process_are_refused_when_it_has_a_successor() {
    let server = Server::start();
    let mut old = Owner::start(&server);
    assert_eq!(old.says(), "owns\t11");
    old.send(Signal::STOP);
    // It waits until the session is over.
    let mut new = Owner::start(&server);
    assert_eq!(new.says(), "owns\t11");
    new.go_on();
    assert_eq!(new.says(), "save\tapplied");

    old.send(Signal::CONT);
    old.is_refused();
    assert_eq!(
        gold(&server, "ann"),
        Some(11),
        "of 10 and the successor's 1"
    );
    assert_eq!((gold(&server, "bob"), gold(&server, "eve")), (None, None));
}

#[test]
fn late_writes_of_a_paused_process_are_refused_when_its_session_is_over() {
    let server = Server::start();
    let mut old = Owner::start(&server);
    assert_eq!(old.says(), "owns\t11");
    old.send(Signal::STOP);
    let mut admin = server.admin();
    let ends_by = Instant::now() + PATIENCE;
    while !admin.sessions("", "").unwrap().sessions.is_empty() {
        assert!(
            Instant::now() < ends_by,
            "the session goes on without a word"
        );
        thread::sleep(Duration::from_millis(20));
    }
    // The record is free, and somebody without a session writes it.
    put(&server, "ann", 50);

    old.send(Signal::CONT);
    old.is_refused();
    assert_eq!(gold(&server, "ann"), Some(50));
    assert_eq!((gold(&server, "bob"), gold(&server, "eve")), (None, None));
}

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The reasons that a late write may be refused with, and no other.
const REFUSALS: [&str; 3] = ["fenced", "session_expired", "not_owner"];

/// A process of [`OWNER`], killed when dropped.
struct Owner {
    process: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Owner {
    fn start(server: &Server) -> Owner {
        let file = server.directory().join("owner.lua");
        std::fs::write(&file, OWNER).unwrap();
        let mut process = Command::new(program())
            .arg("lua")
            .arg(file)
            .arg(server.url())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Owner {
            stdin: process.stdin.take().unwrap(),
            lines: BufReader::new(process.stdout.take().unwrap()).lines(),
            process,
        }
    }

    /// The next line that it prints.
    fn says(&mut self) -> String {
        self.lines.next().expect("it goes on").unwrap()
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    fn go_on(&mut self) {
        self.tell("go on");
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Goes on, and is refused everything that it writes; it is told why.
    fn is_refused(&mut self) {
        self.go_on();
        self.go_on();
        for what in ["save", "add", "put", "delete", "another record", "txn"] {
            let said = self.says();
            let outcome = said.strip_prefix(what).map(str::trim_start);
            assert!(
                outcome.is_some_and(|why| REFUSALS.contains(&why)),
                "{said:?}"
            );
        }
        self.tell("are you fenced?");
        assert_eq!(self.says(), "fenced\tfenced\tfalse");
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // It may be stopped, or gone.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn account(name: &'static str) -> RecordKey {
    RecordKey {
        collection: "account".into(),
        key: name.into(),
    }
}

fn call(server: &Server, kind: op::Kind) -> op_result::Kind {
    let client: Client = server.client("world");
    let op = Op { kind: Some(kind) };
    client.call(op, CallOptions::default()).unwrap().kind
}

/// What an account has; `None`: there is no such account.
fn gold(server: &Server, name: &'static str) -> Option<i64> {
    let get = GetOp {
        key: Some(account(name)),
        ..GetOp::default()
    };
    let op_result::Kind::Get(GetResult { record, .. }) = call(server, op::Kind::Get(get)) else {
        panic!("a get is answered with a record");
    };
    let value = rmpv::decode::read_value(&mut &record?.value[..]).unwrap();
    value["gold"].as_i64()
}

fn put(server: &Server, name: &'static str, gold: i64) {
    let document = rmpv::Value::Map(vec![("gold".into(), gold.into())]);
    let mut value = Vec::new();
    rmpv::encode::write_value(&mut value, &document).unwrap();
    let put = PutOp {
        key: Some(account(name)),
        value: value.into(),
        ..PutOp::default()
    };
    call(server, op::Kind::Put(put));
}

//! The first three points of the recipe that Stillpoint comes from, each a test: processes that are restarted one by one,
//! data in a service of its own, a management port with feedback. The others are about reloading, and so in
//! `tests/lua/reload_points_spec.lua`.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use stillpoint_client::{
    AdminClient,
    v1::{
        ActionOutcome, ManageRequest, ProcessState, RunCommand, Selection, manage_request::Action,
        manage_response::Kind,
    },
};
use stillpoint_tests::server::{Server, program};

/// Talks to the players, and knows nothing but where to ask: for each line it puts a request and says the answer.
const GATE: &str = r#"
    local store = assert(require("stillpoint").connect { namespace = "world1", deadline = 30 })
    local requests, answers = store:collection "request", store:collection "answer"
    for line in io.lines() do
      local key = line:gsub(" ", "/")
      assert(requests:put(key, { asked = true }))
      local answer, err
      repeat
        answer, err = answers:get(key)
        assert(not err, err)
        store:sleep(0.002)
      until answer
      print(answer.text)
    end
"#;

/// A subsystem behind the gate, named by its argument: answers what was asked of it, also before it was started.
const SUBSYSTEM: &str = r#"
    local store = assert(require("stillpoint").connect {
      namespace = "world1", service = arg[1], instance = arg[1], session_wait = 30, deadline = 30,
    })
    local requests, answers = store:collection "request", store:collection "answer"
    print "ready"
    while true do
      for key in requests:scan { prefix = arg[1] .. "/" } do
        if not answers:get(key) then
          assert(answers:put(key, { text = key .. (store:session().succeeded and " by the successor" or "") }))
        end
      end
      store:sleep(0.002)
    end
"#;

/// A fight. All it knows is in a document that it owns.
const FIGHT: &str = r#"
    local store = assert(require("stillpoint").connect {
      namespace = "world1", service = "battle", instance = "battle-1", session_wait = 30, deadline = 30,
    })
    local fight = assert(store:collection("fight"):claim "dragon")
    if not fight.value then
      assert(fight:put { hp = 100, hits = require("stillpoint").array {} })
    end
    print "ready"
    for who in io.lines() do
      assert(fight:add("hp", -7))
      assert(fight:append("hits", who))
      assert(fight:save())
      print(fight.value.hp .. " after " .. #fight.value.hits .. " hits")
    end
"#;

/// Does what the operator asks, and says what came of it.
const KICKING: &str = r#"
    local store = assert(require("stillpoint").connect {
      namespace = "world1", service = "chat", instance = arg[1], session_wait = 30,
    })
    local online = { ann = true }
    store:command("kick", function(args)
      if not online[args.player] then
        error(args.player .. " is not on line")
      end
      online[args.player] = nil
      return { kicked = args.player }
    end)
    print "ready"
    store:run()
"#;

/// A logic process that listens and talks.
struct Process {
    process: Child,
    to: ChildStdin,
    said: BufReader<ChildStdout>,
}

impl Process {
    fn start(server: &Server, script: &str, args: &[&str]) -> Process {
        let mut process = Command::new(program())
            .args(["lua", "-e", script])
            .args(args)
            .env("STILLPOINT_URL", server.url())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        Process {
            to: process.stdin.take().expect("piped"),
            said: BufReader::new(process.stdout.take().expect("piped")),
            process,
        }
    }

    /// One that says that it is there.
    fn ready(server: &Server, script: &str, args: &[&str]) -> Process {
        let mut process = Process::start(server, script, args);
        assert_eq!(process.line(), "ready");
        process
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("it talks");
        line.trim_end().to_owned()
    }

    fn send(&mut self, line: &str) {
        writeln!(self.to, "{line}").expect("it listens");
    }

    fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.line()
    }

    fn kill(mut self) {
        self.process.kill().expect("it is there");
        self.process.wait().expect("it is our child");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn point_1_subsystems_hide_behind_a_connection_server_and_are_restarted_one_by_one() {
    let server = Server::start();
    let mut gate = Process::start(&server, GATE, &[]);
    let shop = Process::ready(&server, SUBSYSTEM, &["shop"]);
    let mail = Process::ready(&server, SUBSYSTEM, &["mail"]);
    assert_eq!(gate.ask("shop 1"), "shop/1");
    assert_eq!(gate.ask("mail 1"), "mail/1");

    // Whoever is connected to the gate waits for the shop, and everything else goes on.
    shop.kill();
    assert_eq!(gate.ask("mail 2"), "mail/2");
    gate.send("shop 2");
    let _shop = Process::ready(&server, SUBSYSTEM, &["shop"]);
    assert_eq!(gate.line(), "shop/2 by the successor");
    mail.kill();
    assert_eq!(gate.ask("shop 3"), "shop/3 by the successor");
    let _mail = Process::ready(&server, SUBSYSTEM, &["mail"]);
    assert_eq!(gate.ask("mail 3"), "mail/3 by the successor");
}

#[test]
fn point_2_the_data_is_in_a_service_of_its_own_so_restarting_what_has_none_is_simple() {
    let server = Server::start();
    let mut fight = Process::ready(&server, FIGHT, &[]);
    assert_eq!(fight.ask("ann"), "93 after 1 hits");
    for hits in 2..=12 {
        fight.kill();
        fight = Process::ready(&server, FIGHT, &[]);
        let hp = 100 - 7 * hits;
        assert_eq!(fight.ask("bob"), format!("{hp} after {hits} hits"));
    }
}

#[test]
fn point_3_an_operator_sends_commands_through_a_port_of_its_own_and_gets_feedback() {
    let server = Server::start();
    let _one = Process::ready(&server, KICKING, &["chat-1"]);
    let _two = Process::ready(&server, KICKING, &["chat-2"]);
    let request = |player: &str, instance: &str| {
        let mut arguments = Vec::new();
        let player = rmpv::Value::Map(vec![("player".into(), player.into())]);
        rmpv::encode::write_value(&mut arguments, &player).expect("memory takes it");
        ManageRequest {
            selection: Some(Selection {
                namespace: "world1".into(),
                service: "chat".into(),
                instance: instance.into(),
                ..Selection::default()
            }),
            timeout_ms: 30_000,
            action: Some(Action::Command(RunCommand {
                name: "kick".into(),
                arguments: arguments.into(),
            })),
            ..ManageRequest::default()
        }
    };
    let mut admin = server.admin();
    let mut ask = |player: &str, instance: &str| {
        let told = admin.manage(request(player, instance)).expect("it begins");
        let last = told.last().expect("something is told");
        match last.expect("to the end").kind {
            Some(Kind::Summary(summary)) => summary,
            other => panic!("{other:?} is no summary"),
        }
    };
    let done = ask("ann", "chat-1");
    assert_eq!(done.outcome(), ActionOutcome::Ok, "{done:?}");
    // Of each process it is told what happened in it, and where it failed.
    let failed = ask("ann", "*");
    assert_eq!(failed.outcome(), ActionOutcome::Failed, "{failed:?}");
    let [one, two] = &failed.processes[..] else {
        panic!("{failed:?}");
    };
    assert_eq!(
        (one.state(), two.state()),
        (ProcessState::Error, ProcessState::Ok)
    );
    assert!(one.message.contains("ann is not on line"), "{one:?}");
    assert!(one.traceback.contains("in function"), "{one:?}");

    // The port is the operator's alone: nobody else on the machine may open it, and players are not connected to it.
    let socket = PathBuf::from(server.directory()).join("admin.sock");
    let mode = fs::metadata(socket)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut player = AdminClient::connect(&server.url(), Duration::from_secs(10)).expect("a port");
    let refused = player
        .manage(request("ann", "*"))
        .map(|mut told| told.next())
        .map_or_else(Some, |told| told.and_then(Result::err));
    assert!(refused.is_some(), "the data port takes commands");
}

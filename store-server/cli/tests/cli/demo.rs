//! `stillpoint demo`, and that the check it relies on sees what is broken.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::{Ran, Server, program, run};

#[test]
fn nothing_is_lost_while_everybody_is_killed() {
    let here = tempfile::tempdir().unwrap();
    let ran = run(program()
        .args(["demo", "--seconds", "5", "--seed", "1", "--json"])
        .current_dir(here.path()));
    assert_eq!(ran.code, 0, "{} {}", ran.stdout, ran.stderr);

    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["good"], true, "{report}");
    assert_eq!(report["broken"], json!([]));
    assert_eq!(report["worker_failures"], 0, "{report}");
    assert_eq!(report["gold_before"], report["gold_after"]);
    assert_eq!(report["items_before"], report["items_after"]);
    for name in ["worker_kills", "store_kills"] {
        assert!(report[name].as_u64() > Some(1), "{name}: {report}");
    }
    let second_act = &report["second_act"];
    assert_eq!(second_act["reload"]["ok"], true, "{report}");
    assert_eq!(second_act["reload"]["processes"], 4, "{report}");
    assert!(second_act["trades"].as_u64() > Some(0), "{report}");
    let third_act = &report["third_act"];
    for (collection, version, records) in [("player", 3, 40), ("shop", 1, 1)] {
        let migrations = third_act["migrations"].as_array().unwrap();
        let is_it = |migration: &&Value| migration["collection"] == collection;
        let migration = migrations.iter().find(is_it).unwrap();
        assert_eq!(migration["from_version"], 0, "{report}");
        assert_eq!(migration["version"], version, "{report}");
        assert_eq!(migration["records"], records, "{report}");
        assert_eq!(migration["failed"], 0, "{report}");
    }
    assert_eq!(third_act["side_by_side"], json!({ "1": 3, "2": 1 }));
    assert_eq!(third_act["finally"], json!({ "2": 4 }));
    for name in ["trades_side_by_side", "changes_of_newer_by_older", "trades"] {
        assert!(third_act[name].as_u64() > Some(0), "{name}: {report}");
    }
    let successions = &report["successions"];
    assert!(
        successions["planned"]["count"].as_u64() >= Some(4),
        "{report}"
    );
    assert!(
        successions["killed"]["count"].as_u64() > Some(0),
        "{report}"
    );
    let trades = |name: &str| report["trades"][name].as_u64().unwrap();
    assert!(trades("acknowledged") > 0, "{report}");
    assert_eq!(trades("cut_off"), 0, "{report}");
    assert_eq!(
        trades("present"),
        trades("acknowledged") + trades("cut_off_present")
    );
    assert_eq!(
        trades("started"),
        trades("acknowledged") + trades("refused") + trades("cut_off")
    );
}

#[test]
fn a_directory_that_is_not_a_demos_is_left_alone() {
    let here = tempfile::tempdir().unwrap();
    fs::write(here.path().join("precious"), "").unwrap();
    let ran = run(program().arg("demo").arg("--dir").arg(here.path()));
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("no demo made it"), "{}", ran.stderr);
    assert_eq!(fs::read_dir(here.path()).unwrap().count(), 1);
}

#[test]
fn a_changed_script_is_kept_and_everything_else_is_fresh() {
    let here = tempfile::tempdir().unwrap();
    let script = here.path().join("stillpoint-demo/game/players.lua");
    let demo = |code: i32| {
        let ran = run(program()
            .args(["demo", "--seconds", "1", "--no-server-kill"])
            .current_dir(here.path()));
        assert_eq!(ran.code, code, "{} {}", ran.stdout, ran.stderr);
        ran.stdout
    };
    assert!(!demo(0).contains("as you changed it"));
    // A seller who is paid twice.
    let text = fs::read_to_string(&script).unwrap();
    let text = text.replace("earn(player, price)", "earn(player, 2 * price)");
    fs::write(&script, &text).unwrap();
    let stdout = demo(1);
    assert!(stdout.contains("players.lua is used as you changed it"));
    // What the acts replaced is as it was at first.
    for replaced in ["rules.lua", "shape.lua"] {
        assert!(!stdout.contains(&format!("{replaced} is used")), "{stdout}");
    }
    assert!(stdout.contains("by the trades should have"), "{stdout}");
    assert_eq!(fs::read_to_string(&script).unwrap(), text);
}

#[test]
fn no_process_outlives_an_interrupted_demo() {
    for signal in ["-INT", "-KILL"] {
        let here = tempfile::tempdir().unwrap();
        let demo = program()
            .args(["demo", "--seconds", "3600", "--json"])
            .current_dir(here.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut demo = Running(demo);
        let dir = here.path().join("stillpoint-demo");
        wait_until("the workers trade", || {
            journal_lines(&dir, "w1", "done") > 0
        });
        send(signal, &demo.0);
        let code = demo.0.wait().unwrap().code();
        assert_eq!(code, (signal == "-INT").then_some(1));

        let lock = File::open(dir.join("data/lock")).unwrap();
        wait_until("the store has gone", || lock.try_lock().is_ok());
    }
}

#[test]
fn the_check_sees_gold_that_came_from_nowhere() {
    let game = Game::played();
    let mut player = game.player("p01");
    let gold = player["gold"].as_i64().unwrap();
    player["gold"] = (gold + 1).into();
    game.put("player/p01", &player);
    game.check_fails_with(&[
        &format!(
            "p01 has {} gold, and by the trades should have {gold}",
            gold + 1
        ),
        "there are 5001 gold, and there were 5000",
    ]);
}

#[test]
fn the_check_sees_an_acknowledged_trade_that_is_lost() {
    let game = Game::played();
    let id = game.acknowledged_trade();
    game.ok(&["del", &format!("trade/{id}")]);
    game.check_fails_with(&[&format!("trade {id} was acknowledged and is lost")]);
}

#[test]
fn the_check_sees_a_trade_that_was_done_twice() {
    let game = Game::played();
    let id = game.acknowledged_trade();
    let address = format!("trade/{id}");
    let trade = serde_json::from_str(&game.ok(&["get", &address])).unwrap();
    game.put(&address, &trade);
    game.check_fails_with(&[&format!("trade {id} happened 2 times")]);
}

#[test]
fn the_check_sees_an_item_that_is_there_twice_and_one_that_has_vanished() {
    let game = Game::played();
    let mut shop: Value = serde_json::from_str(&game.ok(&["get", "shop/main"])).unwrap();
    let stock = shop["stock"].as_object_mut().unwrap();
    let vanished = stock.keys().next().unwrap().clone();
    stock.remove(&vanished);
    game.put("shop/main", &shop);

    let mut player = game.player("p02");
    let bag = player["bag"].as_array_mut().unwrap();
    let copy = bag.first().unwrap().clone();
    bag.push(copy.clone());
    game.put("player/p02", &player);
    let twice = copy["id"].as_str().unwrap();
    game.check_fails_with(&[
        &format!("item {vanished} has vanished; main should have it"),
        &format!("item {twice} is there twice: p02 and p02 have it"),
    ]);
}

#[test]
fn the_check_sees_a_player_who_is_gone_and_a_count_that_is_wrong() {
    let game = Game::played();
    game.ok(&["del", "player/p03"]);
    let mut player = game.player("p04");
    let trades = player["stats"]["trades"].as_i64().unwrap();
    player["stats"]["trades"] = (trades + 1).into();
    game.put("player/p04", &player);
    game.check_fails_with(&[
        "p03 is missing",
        &format!(
            "p04 counts {} trades, and {trades} are in the store",
            trades + 1
        ),
    ]);
}

#[test]
fn the_check_sees_a_document_that_is_stored_in_another_version() {
    let game = Game::played();
    let of_another_version = "
        local players = require('world').connect('other'):collection 'player'
        assert(players:put('p05', assert(players:get 'p05'), { schema = 2 }))";
    fs::write(game.path("other.lua"), of_another_version).unwrap();
    assert_eq!(game.script("other.lua", &[]).code, 0);
    game.check_fails_with(&["player/p05 is stored in version 2, and this game has 0"]);
}

#[test]
fn another_shape_comes_with_another_process_and_not_by_a_reload() {
    let game = Game::played();
    game.ok(&["del", "world/stop"]);
    let mut worker = game.worker();
    let trades = || journal_lines(game.directory.path(), "w1", "done");
    let before = trades();
    wait_until("the worker trades", || trades() > before);

    fs::copy(game.path("shape_new.lua"), game.path("shape.lua")).unwrap();
    let reload = ["reload", "apply", "--service", "game"];
    let ran = run(game.program().args(reload));
    assert_eq!(ran.code, 1, "{} {}", ran.stdout, ran.stderr);
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(
        told.contains("another shape is for other processes"),
        "{told}"
    );

    // It plays on as it was.
    let before = trades();
    wait_until("the worker trades", || trades() > before);
    game.ok(&["put", "world/stop", "true"]);
    assert!(worker.0.wait().unwrap().success());
}

/// A store with the world in it, and a worker that has played in it for a while and has stopped.
struct Game {
    server: Server,
    directory: TempDir,
}

impl Game {
    fn played() -> Self {
        let game = Game {
            server: Server::start(),
            directory: tempfile::tempdir().unwrap(),
        };
        let here = game.directory.path();
        fs::create_dir(here.join("journal")).unwrap();
        fs::create_dir(here.join("game")).unwrap();
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/game");
        for script in fs::read_dir(scripts).unwrap() {
            let script = script.unwrap();
            if script.file_type().unwrap().is_file() {
                fs::copy(script.path(), here.join("game").join(script.file_name())).unwrap();
            }
        }
        for _ in 0..2 {
            // The second time it finds everything done.
            assert_eq!(game.script("setup.lua", &["1"]).code, 0);
        }
        game.play();
        assert_eq!(game.script("check.lua", &[]).code, 0);
        game
    }

    fn worker(&self) -> Running {
        let mut worker = self.program();
        worker
            .arg("lua")
            .arg(self.path("main.lua"))
            .args(["w1", "1"]);
        Running(worker.spawn().unwrap())
    }

    fn play(&self) {
        let mut worker = self.worker();
        wait_until("there are some trades", || {
            journal_lines(self.directory.path(), "w1", "done") >= 100
        });
        self.ok(&["put", "world/stop", "true"]);
        assert!(worker.0.wait().unwrap().success());
    }

    fn program(&self) -> Command {
        let mut program = self.server.program();
        program.env("STILLPOINT_NAMESPACE", "game");
        program
    }

    fn path(&self, script: &str) -> PathBuf {
        self.directory.path().join("game").join(script)
    }

    fn script(&self, name: &str, args: &[&str]) -> Ran {
        run(self.program().arg("lua").arg(self.path(name)).args(args))
    }

    fn ok(&self, args: &[&str]) -> String {
        let ran = run(self.program().args(args));
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        ran.stdout
    }

    fn put(&self, address: &str, value: &Value) {
        self.ok(&["put", address, &value.to_string()]);
    }

    fn player(&self, key: &str) -> Value {
        serde_json::from_str(&self.ok(&["get", &format!("player/{key}")])).unwrap()
    }

    fn acknowledged_trade(&self) -> String {
        let journal = fs::read_to_string(self.directory.path().join("journal/w1.log")).unwrap();
        let id = journal.lines().find_map(|line| line.strip_prefix("done "));
        id.and_then(|rest| rest.split(' ').next())
            .unwrap()
            .to_owned()
    }

    fn check_fails_with(&self, complaints: &[&str]) {
        let ran = self.script("check.lua", &[]);
        assert_eq!(ran.code, 1, "{}", ran.stdout);
        for complaint in complaints {
            let line = format!("BROKEN: {complaint}");
            assert!(
                ran.stdout.lines().any(|told| told == line),
                "not {line:?}: {}",
                ran.stdout
            );
        }
    }
}

/// A child process, killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn send(signal: &str, process: &Child) {
    let pid = process.id().to_string();
    assert!(
        Command::new("kill")
            .args([signal, &pid])
            .status()
            .unwrap()
            .success()
    );
}

/// How many lines of a worker's journal say this.
fn journal_lines(dir: &Path, worker: &str, what: &str) -> usize {
    let journal = fs::read_to_string(dir.join("journal").join(format!("{worker}.log")));
    let is_it = |line: &&str| line.split(' ').next() == Some(what);
    journal.unwrap_or_default().lines().filter(is_it).count()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let ends = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < ends, "waited too long until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

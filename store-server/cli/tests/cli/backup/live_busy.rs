//! The store goes back under those who write to it.

use std::{
    io::Write,
    process::Stdio,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use serde_json::Value;

use super::{
    live::{restore, start},
    target::Target,
};
use crate::server::Server;

const ACCOUNTS: usize = 6;

const GOLD: i64 = 100;

/// Says that it is over, also when an assertion fails: nobody would wait for the writers otherwise.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Moves one piece of gold as one transaction; whether the store took it.
fn transfer(server: &Server, from: usize, to: usize) -> bool {
    let document = format!(
        "{{\"then\": [{{\"patch\": \"account/{from}\", \"steps\": [[\"add\", \"gold\", -1]]}}, \
         {{\"patch\": \"account/{to}\", \"steps\": [[\"add\", \"gold\", 1]]}}]}}"
    );
    let mut process = server
        .program()
        .args(["txn", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = process.stdin.take().unwrap();
    // One that finds no server has ended before it has read this.
    drop(stdin.write_all(document.as_bytes()));
    drop(stdin);
    process.wait().unwrap().success()
}

fn sum(server: &Server) -> i64 {
    let accounts = server.ok(&["scan", "account", "--json"]);
    let gold = accounts.lines().map(|line| {
        let record: Value = serde_json::from_str(line).unwrap();
        record["value"]["gold"].as_i64().unwrap()
    });
    gold.sum()
}

#[test]
fn the_sum_is_right_and_writers_go_on_when_the_store_goes_back_under_them() {
    let target = Target::new();
    let server = start(&target, &[]);
    for account in 0..ACCOUNTS {
        let gold = format!("{{\"gold\": {GOLD}}}");
        server.ok(&["put", &format!("account/{account}"), &gold]);
    }
    let total = GOLD * ACCOUNTS as i64;
    let (is_over, taken) = (AtomicBool::new(false), AtomicU64::new(0));
    let taken_since = |since: u64| {
        while taken.load(Ordering::Relaxed) < since + 10 {
            thread::yield_now();
        }
    };
    thread::scope(|scope| {
        let _over = Over(&is_over);
        for writer in 0..2 {
            let (server, is_over, taken) = (&server, &is_over, &taken);
            scope.spawn(move || {
                let mut from = writer;
                while !is_over.load(Ordering::Relaxed) {
                    let to = (from + 1 + writer) % ACCOUNTS;
                    // While the store goes back it takes none.
                    if transfer(server, from, to) {
                        taken.fetch_add(1, Ordering::Relaxed);
                    }
                    from = to;
                }
            });
        }
        for incarnation in 2..5 {
            taken_since(taken.load(Ordering::Relaxed));
            let backup = target.take(&server, &[]);
            taken_since(taken.load(Ordering::Relaxed));
            let told = restore(&server, &target, &[]);
            assert_eq!(told["incarnation"], incarnation);
            assert_eq!(told["state_hash"], backup["state_hash"], "{told}");
            assert_eq!(told["seq"], backup["last_seq"]);
            assert_eq!(sum(&server), total);
        }
        taken_since(taken.load(Ordering::Relaxed));
    });
    assert_eq!(sum(&server), total);
}

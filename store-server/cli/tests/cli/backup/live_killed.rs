//! The server dies while the store is being replaced.

use std::{
    fs,
    process::Stdio,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use super::{live::start, target::Target};
use crate::server::Server;

const CYCLES: u32 = 25;

/// Records that tell a mix.
const RECORDS: u32 = 40;

/// A restore of this little store takes about so long.
const RESTORE_MS: u64 = 150;

fn put_all(server: &Server, value: &str) {
    let lines = (0..RECORDS)
        .map(|key| format!("{{\"put\": \"player/{key}\", \"value\": {value}}}"))
        .collect::<Vec<_>>();
    let document = format!("{{\"then\": [{}]}}", lines.join(","));
    let ran = server.run_with_input(&["txn", "-f", "-"], document.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

#[test]
fn a_server_that_is_killed_at_any_moment_of_a_restore_has_the_old_state_or_the_new_one() {
    let target = Target::new();
    let mut server = start(&target, &[]);
    put_all(&server, "\"old\"");
    target.take(&server, &[]);
    let status = |server: &Server| -> Value {
        serde_json::from_str(&server.ok(&["status", "--json"])).unwrap()
    };
    let digits = status(&server)["store_id"].as_str().unwrap()[..8].to_owned();
    let mut incarnation = 1;
    let (mut old, mut new) = (0, 0);
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut random = u64::from(seed.subsec_nanos());
    for cycle in 0..CYCLES {
        put_all(&server, "\"new\"");
        let mut restore = server
            .program()
            .args(["restore", "--live", "--from", &target.url()])
            .args(["--confirm", &digits])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Knuth's: the upper half is random enough.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let delay_ms = (random >> 33) % RESTORE_MS;
        // The moment of the kill, which nothing else tells.
        thread::sleep(Duration::from_millis(delay_ms));
        let directory = server.kill();
        // It waits for a server that does not come.
        let _ = restore.kill();
        restore.wait().unwrap();

        server = Server::start_in(directory, &[]);
        let now = status(&server)["incarnation"].as_u64().unwrap();
        let values = server.ok(&["scan", "player"]);
        let value = match now == incarnation {
            true => "new",
            false => "old",
        };
        let at = format!("cycle {cycle}, after {delay_ms} ms (seed {seed:?})");
        assert!(now == incarnation || now == incarnation + 1, "{at}: {now}");
        let found = values.matches(&format!("\"{value}\"")).count();
        assert_eq!(found, RECORDS as usize, "{at}, incarnation {now}: {values}");
        match value {
            "new" => new += 1,
            _ => old += 1,
        }
        incarnation = now;
        let room = server.directory().parent().unwrap();
        for item in fs::read_dir(room).unwrap() {
            let name = item.unwrap().file_name().into_string().unwrap();
            assert!(!name.starts_with('.'), "{at}: {name} is left");
        }
    }
    println!("{old} of {CYCLES} restores had their effect, {new} had none");
    let kept = fs::read_dir(server.directory().parent().unwrap()).unwrap();
    let kept = kept.filter(|item| {
        let name = item.as_ref().unwrap().file_name();
        name.to_string_lossy().contains(".before-")
    });
    assert_eq!(kept.count(), old, "each state that was replaced is kept");
}

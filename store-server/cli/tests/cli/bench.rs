//! `stillpoint bench`: that it measures, never how fast.

use serde_json::Value;

use crate::server::{Server, program, run};

const QUICK: [&str; 6] = ["bench", "--quick", "--seconds", "0.05", "--records", "100"];

fn cells(report: &str) -> Vec<Value> {
    let report: Value = serde_json::from_str(report).unwrap();
    report["cells"].as_array().unwrap().clone()
}

#[test]
fn every_quick_cell_is_measured_on_a_server_of_its_own_that_is_gone_afterwards() {
    let parent = tempfile::tempdir().unwrap();
    let ran = run(program()
        .args(QUICK)
        .args(["--json", "--dir"])
        .arg(parent.path()));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let cells = cells(&ran.stdout);
    assert_eq!(cells.len(), 5 * 2 * 2);
    for cell in &cells {
        assert!(cell["ops"].as_u64().unwrap() > 0, "{cell}");
        assert!(cell["ops_per_second"].as_f64().unwrap() > 0.0, "{cell}");
        let [p50, p99, p999] =
            ["p50_us", "p99_us", "p999_us"].map(|name| cell[name].as_f64().unwrap());
        assert!(0.0 < p50 && p50 <= p99 && p99 <= p999, "{cell}");
        let syncs_per_commit = cell["syncs_per_commit"].as_f64();
        match cell["workload"].as_str().unwrap() {
            "get" => assert_eq!(syncs_per_commit, None, "{cell}"),
            _ => assert!(syncs_per_commit.unwrap() > 0.0, "{cell}"),
        }
    }
    assert_eq!(parent.path().read_dir().unwrap().count(), 0);
}

#[test]
fn a_running_server_is_measured_in_a_namespace_of_its_own() {
    let server = Server::start();
    server.ok(&["put", "player/42", "1"]);
    let url = |socket| format!("unix:{}", server.directory().join(socket).display());
    let (url, admin) = (url("stillpoint.sock"), url("admin.sock"));
    let typed = [
        "--workload",
        "update",
        "--in-flight",
        "4",
        "--client",
        "rust",
        "--url",
        &url,
        "--admin",
        &admin,
    ];
    let table = server.ok(&[&QUICK[..], &typed].concat());
    let rows = table.lines().filter(|line| line.contains("| update "));
    assert_eq!(rows.count(), 1, "{table}");
    let status: Value = serde_json::from_str(&server.ok(&["status", "--json"])).unwrap();
    let namespaces = status["namespaces"].as_array().unwrap();
    let records = |name: &str| {
        let of = |namespace: &&Value| namespace["namespace"] == name;
        namespaces.iter().find(of).unwrap()["records"].clone()
    };
    assert_eq!(
        (records("bench"), records("default")),
        (100.into(), 1.into())
    );
}

#[test]
fn more_in_flight_than_the_server_allows_is_refused_with_its_limit() {
    let typed = ["--in-flight", "1000000", "--client", "rust"];
    let ran = run(program().args(QUICK).args(typed));
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(
        ran.stderr
            .contains("operations in flight on a connection, not 1000000"),
        "{}",
        ran.stderr
    );
}

#[test]
fn planned_restarts_and_a_claimed_document_are_measured() {
    let typed = ["bench", "--succession", "--restarts", "3", "--seconds"];
    let ran = run(program().args(typed).args(["0.05", "--json"]));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let restarts = report["planned_restarts"].as_array().unwrap();
    assert_eq!(restarts.len(), 2, "{report}");
    for kind in restarts {
        assert_eq!(kind["restarts"], 3, "{report}");
        let [p50, p99, longest] =
            ["p50_ms", "p99_ms", "longest_ms"].map(|name| kind[name].as_f64().unwrap());
        assert!(0.0 < p50 && p50 <= p99 && p99 <= longest, "{report}");
    }
    let claimed = report["claimed_document"].as_array().unwrap();
    assert_eq!(claimed.len(), 3, "{report}");
    for rate in claimed {
        assert!(rate["per_second"].as_f64().unwrap() > 0.0, "{report}");
    }
}

#[test]
fn restarts_have_no_workload() {
    let ran = run(program().args(["bench", "--succession", "--workload", "get"]));
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("--workload"), "{}", ran.stderr);
}

#[test]
fn backups_restores_and_starts_are_measured() {
    let parent = tempfile::tempdir().unwrap();
    let typed = [
        "bench",
        "--backup",
        "--records=2000",
        "--startup-records=3000",
    ];
    let ran = run(program()
        .args(typed)
        .args(["--rounds=2", "--seconds=0.1", "--json", "--dir"])
        .arg(parent.path()));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let writers = report["writers"].as_array().unwrap();
    assert_eq!(writers.len(), 3, "{report}");
    for beside in writers {
        let [p50, p99] = ["p50_us", "p99_us"].map(|name| beside[name].as_f64().unwrap());
        assert!(0.0 < p50 && p50 <= p99, "{report}");
        assert!(beside["writes"].as_u64().unwrap() > 0, "{report}");
    }
    assert!(writers[0]["backup"].is_null(), "{report}");
    for moved in [
        &writers[1]["backup"],
        &writers[2]["backup"],
        &report["restore"],
    ] {
        // The documents alone are 400 bytes each.
        assert!(moved["bytes"].as_u64().unwrap() > 2000 * 400, "{report}");
        assert!(moved["mb_per_second"].as_f64().unwrap() > 0.0, "{report}");
    }
    for start in ["start_seconds", "start_without_view_seconds"] {
        assert!(report[start].as_f64().unwrap() > 0.0, "{report}");
    }
    assert_eq!(report["startup_records"], 3000);
    assert_eq!(parent.path().read_dir().unwrap().count(), 0);

    let elsewhere = ["bench", "--backup", "--url=unix:x", "--admin=unix:y"];
    let refused = run(program().args(elsewhere));
    assert_eq!(
        refused.code, 2,
        "a server that somebody else runs is not killed"
    );
}

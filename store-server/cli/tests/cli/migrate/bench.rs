//! `stillpoint bench --migration`: that it measures, never how fast.

use serde_json::Value;

use crate::server::{program, run};

#[test]
fn the_foreground_is_measured_with_and_without_a_migration() {
    let parent = tempfile::tempdir().unwrap();
    let ran = run(program()
        .args(["bench", "--migration", "--records=2000", "--rounds=2"])
        .args(["--seconds=0.1", "--json", "--dir"])
        .arg(parent.path()));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    for name in ["foreground", "foreground_beside_rewriting"] {
        let foreground = &report[name];
        let [p50, p99] = ["p50_us", "p99_us"].map(|name| foreground[name].as_f64().unwrap());
        assert!(0.0 < p50 && p50 <= p99, "{report}");
        assert!(foreground["ops"].as_u64().unwrap() > 0, "{report}");
    }
    assert!(report["foreground"]["rewriting"].is_null(), "{report}");
    for rewriting in [
        &report["foreground_beside_rewriting"]["rewriting"],
        &report["rewriting"],
    ] {
        assert_eq!(rewriting["records"], 2000, "{report}");
        assert!(
            rewriting["records_per_second"].as_f64().unwrap() > 0.0,
            "{report}"
        );
    }
    assert_eq!(parent.path().read_dir().unwrap().count(), 0);

    let elsewhere = ["bench", "--migration", "--url=unix:x", "--admin=unix:y"];
    assert_eq!(
        run(program().args(elsewhere)).code,
        2,
        "it takes a store of its own"
    );
}

use std::io::Write;

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Typed {
    #[command(flatten)]
    settings: GivenSettings,
}

fn config(flags: &[&str], file: &str) -> Result<Config, String> {
    let mut path = tempfile::NamedTempFile::new().unwrap();
    path.write_all(file.as_bytes()).unwrap();
    let words = ["stillpoint"].iter().chain(flags);
    let typed = Typed::try_parse_from(words).map_err(|error| error.to_string())?;
    let path = (!file.is_empty()).then(|| path.path());
    typed.settings.into_config(path)
}

#[test]
fn every_setting_of_the_server_has_a_row_and_every_row_is_a_setting() {
    let all = serde_json::to_value(Config::default()).unwrap();
    let mut keys = Vec::new();
    for (name, value) in all.as_object().unwrap() {
        match value.as_object() {
            Some(section) => keys.extend(section.keys().map(|key| format!("{name}.{key}"))),
            None => keys.push(name.clone()),
        }
    }
    let mut rows: Vec<_> = SETTINGS
        .iter()
        .map(|setting| setting.key.to_owned())
        .collect();
    keys.sort();
    rows.sort();
    assert_eq!(rows, keys);
}

#[test]
fn without_anything_typed_the_defaults_hold() {
    assert_eq!(config(&[], ""), Ok(Config::default()));
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let file = "[limits]\nvalue_bytes = 2048\nnesting = 32\n";
    let config = config(&["--max-nesting", "16"], file).unwrap();
    assert_eq!(config.limits.nesting, 16);
    assert_eq!(config.limits.value_bytes, 2048);
    assert_eq!(config.limits.batch_ops, Config::default().limits.batch_ops);
}

#[test]
fn sizes_and_times_have_units_in_flags_and_in_the_file() {
    let file =
        "[log]\nsegment_bytes = \"1MiB\"\nretention_secs = \"2h\"\napplied_sync_ms = \"1s\"\n";
    let config = config(
        &[
            "--max-value-bytes=10kB",
            "--shutdown-grace-secs=1m",
            "--cache-bytes=77",
        ],
        file,
    )
    .unwrap();
    assert_eq!(config.log.segment_bytes, 1 << 20);
    assert_eq!(config.log.retention_secs, 7200);
    assert_eq!(config.log.applied_sync_ms, 1000);
    assert_eq!(config.limits.value_bytes, 10_000);
    assert_eq!(config.shutdown_grace_secs, 60);
    assert_eq!(config.view.cache_bytes, 77);
}

#[test]
fn switches_are_on_when_named_and_off_when_told() {
    assert!(config(&["--declared-only"], "").unwrap().declared_only);
    assert!(
        !config(&["--declared-only=false"], "declared_only = true")
            .unwrap()
            .declared_only
    );
    assert!(
        !config(&["--verify-at-start=false"], "")
            .unwrap()
            .log
            .verify_at_start
    );
}

#[test]
fn collections_are_named_with_namespace_and_rules() {
    let config = config(
        &[
            "--collection",
            "world1/position=applied,player=claims",
            "--collection=track=claims+applied",
            "--collection=*",
        ],
        "",
    )
    .unwrap();
    let named = |c: &stillpoint_store_server::config::CollectionConfig| {
        format!(
            "{}/{}={:?}, claims {:?}",
            c.namespace, c.collection, c.durability, c.claims
        )
    };
    let collections: Vec<_> = config.collections.iter().map(named).collect();
    assert_eq!(
        collections,
        [
            "world1/position=Applied, claims Optional",
            "*/player=Synced, claims Required",
            "*/track=Applied, claims Required",
            "*/*=Synced, claims Optional"
        ]
    );
}

#[test]
fn a_collection_in_the_file_says_whether_its_records_must_be_claimed() {
    let file = "[[collections]]\ncollection = \"player\"\nclaims = \"required\"\n";
    let config = config(&[], file).unwrap();
    assert_eq!(
        config.collections[0].claims,
        stillpoint_store_server::config::ClaimRule::Required
    );
}

#[test]
fn what_print_config_prints_is_read_back_the_same() {
    let flags = [
        "--data-dir=/srv/world 1",
        "--listen=127.0.0.1:7766",
        "--declared-only",
        "--collection=world1/position=applied",
        "--collection=player=claims",
        "--session-ttl-secs=1m",
        "--max-value-bytes=3MiB",
        "--engine=memory",
        "--retention-secs=7h",
    ];
    for flags in [&flags[..], &[]] {
        let typed = config(flags, "").unwrap();
        let printed = print_config(&typed);
        assert_eq!(config(&[], &printed), Ok(typed), "{printed}");
        for setting in SETTINGS {
            assert!(printed.contains(&setting.env()), "{}", setting.key);
        }
    }
}

#[test]
fn mistakes_name_the_setting_and_the_remedy() {
    for (file, message) in [
        (
            "[limits]\nvaluebytes = 1",
            "unknown setting \"limits.valuebytes\"",
        ),
        ("[limit]\nvalue_bytes = 1", "unknown setting \"limit\""),
        ("value_bytes = 1", "unknown setting \"value_bytes\""),
        (
            "[limits]\nvalue_bytes = \"big\"",
            "limits.value_bytes: \"big\": write a size, e.g. 1048576, 1MiB or 10MB",
        ),
        (
            "[limits]\nvalue_bytes = -1",
            "limits.value_bytes: -1 is no SIZE",
        ),
        ("[limits]\nnesting = \"7\"", "limits.nesting: \"7\" is no N"),
        ("declared_only = 1", "declared_only: 1 is no true|false"),
        ("listen = \"localhost\"", "e.g. 127.0.0.1:7766"),
        ("[[collections]]\ncolection = \"a\"", "colection"),
        ("[view]\nengine = \"lmdb\"", "write sled or memory"),
        ("[limits\n", "line 1"),
        (
            "[limits]\nnesting = 0",
            "limits.nesting is 0: set at least 1",
        ),
    ] {
        let error = config(&[], file).unwrap_err();
        assert!(error.contains(message), "{file}: {error}");
    }
    for (flag, message) in [
        (
            "--max-value-bytes=big",
            "write a size, e.g. 1048576, 1MiB or 10MB",
        ),
        ("--max-nesting=-1", "write a whole number"),
        (
            "--retention-secs=soon",
            "write a time, e.g. 90s, 20ms or 1h30m",
        ),
        ("--listen=here", "e.g. 127.0.0.1:7766"),
        ("--engine=lmdb", "write sled or memory"),
        ("--collection=Player", "invalid collection name"),
        (
            "--collection=player=fast",
            "write synced, applied or claims",
        ),
        (
            "--collection=player=synced+applied",
            "applied cannot stand beside synced",
        ),
        ("--session-ttl-secs=2h", "at most sessions.ttl_max_secs"),
        ("--data-dir=", "the path is empty"),
    ] {
        let error = config(&[flag], "").unwrap_err();
        assert!(error.contains(message), "{flag}: {error}");
    }
    let missing = GivenSettings::default().into_config(Some(Path::new("no-such-file.toml")));
    assert!(
        missing
            .unwrap_err()
            .contains("cannot read settings file no-such-file.toml")
    );
}

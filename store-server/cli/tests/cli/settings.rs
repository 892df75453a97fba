//! Where a setting comes from, as the built program sees it: `stillpoint serve --print-config`.

use std::process::Command;

/// A value as typed, and as `--print-config` shows it.
type Value = (&'static str, &'static str);

/// Every setting: its place in the file, its flag, its environment variable, and a value for each of the three.
#[rustfmt::skip]
const SETTINGS: &[(&str, &str, &str, [Value; 3])] = &[
    ("data_dir", "--data-dir", "STILLPOINT_DATA_DIR", PATHS),
    ("socket", "--socket", "STILLPOINT_SOCKET", PATHS),
    ("admin_socket", "--admin-socket", "STILLPOINT_ADMIN_SOCKET", PATHS),
    ("listen", "--listen", "STILLPOINT_LISTEN", [
        ("\"127.0.0.1:1\"", "\"127.0.0.1:1\""), ("127.0.0.1:2", "\"127.0.0.1:2\""), ("[::1]:3", "\"[::1]:3\"")]),
    ("allow_remote", "--allow-remote", "STILLPOINT_ALLOW_REMOTE", SWITCH),
    ("shutdown_grace_secs", "--shutdown-grace-secs", "STILLPOINT_SHUTDOWN_GRACE_SECS", SECONDS),
    ("declared_only", "--declared-only", "STILLPOINT_DECLARED_ONLY", SWITCH),
    ("limits.connections", "--max-connections", "STILLPOINT_MAX_CONNECTIONS", COUNTS),
    ("limits.in_flight", "--max-in-flight", "STILLPOINT_MAX_IN_FLIGHT", COUNTS),
    ("limits.message_bytes", "--max-message-bytes", "STILLPOINT_MAX_MESSAGE_BYTES", SIZES),
    ("limits.value_bytes", "--max-value-bytes", "STILLPOINT_MAX_VALUE_BYTES", [
        ("\"64KiB\"", "65536"), ("128KiB", "131072"), ("99", "99")]),
    ("limits.nesting", "--max-nesting", "STILLPOINT_MAX_NESTING", COUNTS),
    ("limits.batch_ops", "--max-batch-ops", "STILLPOINT_MAX_BATCH_OPS", COUNTS),
    ("limits.scan_page", "--max-scan-page", "STILLPOINT_MAX_SCAN_PAGE", COUNTS),
    ("limits.queue_ops", "--max-queue-ops", "STILLPOINT_MAX_QUEUE_OPS", LARGE_COUNTS),
    ("limits.queue_bytes", "--max-queue-bytes", "STILLPOINT_MAX_QUEUE_BYTES", SIZES),
    ("limits.sessions", "--max-sessions", "STILLPOINT_MAX_SESSIONS", COUNTS),
    ("limits.claims", "--max-claims", "STILLPOINT_MAX_CLAIMS", COUNTS),
    ("limits.timers", "--max-timers", "STILLPOINT_MAX_TIMERS", COUNTS),
    ("limits.watches", "--max-watches", "STILLPOINT_MAX_WATCHES", COUNTS),
    ("sessions.ttl_secs", "--session-ttl-secs", "STILLPOINT_SESSION_TTL_SECS", SECONDS),
    ("sessions.ttl_max_secs", "--session-ttl-max-secs", "STILLPOINT_SESSION_TTL_MAX_SECS", SECONDS),
    ("sessions.reattach_ms", "--session-reattach-ms", "STILLPOINT_SESSION_REATTACH_MS", [
        ("31", "31"), ("32ms", "32"), ("3s", "3000")]),
    ("backup.target", "--backup-target", "STILLPOINT_BACKUP_TARGET", [
        ("\"/a/file\"", "\"/a/file\""), ("/env", "\"/env\""), ("/flag", "\"/flag\"")]),
    // It has to be there.
    ("backup.key_file", "--backup-key-file", "STILLPOINT_BACKUP_KEY_FILE", [
        ("\"Cargo.toml\"", "\"Cargo.toml\""), ("src/main.rs", "\"src/main.rs\""), ("./Cargo.toml", "\"./Cargo.toml\"")]),
    ("backup.bytes_per_second", "--backup-bytes-per-second", "STILLPOINT_BACKUP_BYTES_PER_SECOND", SIZES),
    ("backup.full", "--backup-full", "STILLPOINT_BACKUP_FULL", CRONS),
    ("backup.incremental", "--backup-incremental", "STILLPOINT_BACKUP_INCREMENTAL", CRONS),
    ("backup.verify", "--backup-verify", "STILLPOINT_BACKUP_VERIFY", CRONS),
    ("backup.expire", "--backup-expire", "STILLPOINT_BACKUP_EXPIRE", CRONS),
    ("backup.keep_hourly", "--backup-keep-hourly", "STILLPOINT_BACKUP_KEEP_HOURLY", COUNTS),
    ("backup.keep_daily", "--backup-keep-daily", "STILLPOINT_BACKUP_KEEP_DAILY", COUNTS),
    ("backup.keep_weekly", "--backup-keep-weekly", "STILLPOINT_BACKUP_KEEP_WEEKLY", COUNTS),
    ("backup.keep_monthly", "--backup-keep-monthly", "STILLPOINT_BACKUP_KEEP_MONTHLY", COUNTS),
    ("backup.scratch", "--backup-scratch", "STILLPOINT_BACKUP_SCRATCH", PATHS),
    ("log.segment_bytes", "--segment-bytes", "STILLPOINT_SEGMENT_BYTES", SIZES),
    ("log.retention_bytes", "--retention-bytes", "STILLPOINT_RETENTION_BYTES", SIZES),
    ("log.retention_secs", "--retention-secs", "STILLPOINT_RETENTION_SECS", SECONDS),
    ("log.checkpoint_bytes", "--checkpoint-bytes", "STILLPOINT_CHECKPOINT_BYTES", SIZES),
    ("log.checkpoint_secs", "--checkpoint-secs", "STILLPOINT_CHECKPOINT_SECS", SECONDS),
    ("log.checkpoint_bytes_per_second", "--checkpoint-bytes-per-second", "STILLPOINT_CHECKPOINT_BYTES_PER_SECOND", SIZES),
    ("log.dedup_window_secs", "--dedup-window-secs", "STILLPOINT_DEDUP_WINDOW_SECS", SECONDS),
    ("log.dedup_entries", "--dedup-entries", "STILLPOINT_DEDUP_ENTRIES", LARGE_COUNTS),
    ("log.applied_sync_ms", "--applied-sync-ms", "STILLPOINT_APPLIED_SYNC_MS", [
        ("31", "31"), ("32ms", "32"), ("3s", "3000")]),
    ("log.disk_reserve_bytes", "--disk-reserve-bytes", "STILLPOINT_DISK_RESERVE_BYTES", SIZES),
    ("log.verify_at_start", "--verify-at-start", "STILLPOINT_VERIFY_AT_START", SWITCH),
    ("view.engine", "--engine", "STILLPOINT_ENGINE", [
        ("\"memory\"", "\"memory\""), ("sled", "\"sled\""), ("memory", "\"memory\"")]),
    ("view.cache_bytes", "--cache-bytes", "STILLPOINT_CACHE_BYTES", SIZES),
    ("view.record_cache_bytes", "--record-cache-bytes", "STILLPOINT_RECORD_CACHE_BYTES", SIZES),
    ("view.overlay_bytes", "--overlay-bytes", "STILLPOINT_OVERLAY_BYTES", SIZES),
];

const PATHS: [Value; 3] = [
    ("\"a/file\"", "\"a/file\""),
    ("env", "\"env\""),
    ("./flag", "\"./flag\""),
];
const SWITCH: [Value; 3] = [("true", "true"), ("false", "false"), ("true", "true")];
const COUNTS: [Value; 3] = [("101", "101"), ("102", "102"), ("103", "103")];
const LARGE_COUNTS: [Value; 3] = [("70001", "70001"), ("70002", "70002"), ("70003", "70003")];
const SIZES: [Value; 3] = [
    ("\"33MiB\"", "34603008"),
    ("34MiB", "35651584"),
    ("36000000", "36000000"),
];
const CRONS: [Value; 3] = [
    ("\"0 3 * * SUN\"", "\"0 3 * * SUN\""),
    ("@daily", "\"@daily\""),
    ("*/15 * * * *", "\"*/15 * * * *\""),
];
const SECONDS: [Value; 3] = [("\"5m\"", "300"), ("6m", "360"), ("77", "77")];

/// The line of a setting in what the program prints.
fn printed(file: &str, env: Option<(&str, &str)>, flags: &[String], key: &str) -> String {
    let path = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(path.path(), file).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_stillpoint"))
        .args(["serve", "--print-config"])
        .args(flags)
        .env("STILLPOINT_CONFIG", path.path())
        .envs(env)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{key}: {errors}");
    let (section, name) = key.split_once('.').unwrap_or(("", key));
    let mut current = "";
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix('[') {
            current = heading.trim_end_matches(']');
        }
        if let Some(value) = line.strip_prefix(&format!("{name} = "))
            && current == section
        {
            return value.to_owned();
        }
    }
    "none".to_owned()
}

#[test]
fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
    for (key, flag, env, values) in SETTINGS {
        let [
            (in_file, from_file),
            (in_env, from_env),
            (in_flag, from_flag),
        ] = *values;
        let (section, name) = key
            .split_once('.')
            .map_or((String::new(), *key), |(s, n)| (format!("[{s}]\n"), n));
        // Nothing is scheduled without a target.
        let target = match (section.as_str(), name) {
            ("[backup]\n", name) if name != "target" => "target = \"/backups\"\n",
            _ => "",
        };
        let file = format!("{section}{target}{name} = {in_file}\n");
        let env = Some((*env, in_env));
        let flags = [format!("{flag}={in_flag}")];
        let default = printed("", None, &[], key);
        assert_eq!(
            printed(&file, None, &[], key),
            from_file,
            "{key} from the file"
        );
        assert_eq!(
            printed(&file, env, &[], key),
            from_env,
            "{key} from the environment"
        );
        assert_eq!(
            printed(&file, env, &flags, key),
            from_flag,
            "{key} from the flag"
        );
        let told_apart = from_file != from_env && from_env != from_flag;
        let not_the_default = default != from_file || default != from_env;
        assert!(
            told_apart && not_the_default,
            "{key}: the values do not tell where they are from"
        );
    }
}

#[test]
fn a_wrong_setting_is_a_usage_error_that_names_it() {
    for (env, flag, message) in [
        ("STILLPOINT_MAX_NESTING=x", "--json", "write a whole number"),
        (
            "A=b",
            "--max-nesting=0",
            "limits.nesting is 0: set at least 1",
        ),
        ("A=b", "--listen=0.0.0.0:1", "or set allow_remote = true"),
        (
            "A=b",
            "--config=no-such-file",
            "cannot read settings file no-such-file",
        ),
        ("A=b", "--no-such-flag", "unexpected argument"),
        (
            "STILLPOINT_BACKUP_TARGET=/backups",
            "--backup-full=daily",
            "backup.full is \"daily\", which is no cron expression",
        ),
        (
            "A=b",
            "--backup-verify=@daily",
            "backup.verify is set, but backup.target is not",
        ),
        (
            "A=b",
            "--backup-target=ftp://somewhere",
            "backup.target: \"ftp://somewhere\" is no place for backups",
        ),
        (
            "A=b",
            "--backup-key-file=no-such-file",
            "backup.key_file: cannot read no-such-file",
        ),
    ] {
        let (name, value) = env.split_once('=').unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_stillpoint"))
            .args(["serve", "--print-config", flag])
            .env(name, value)
            .output()
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{env} {flag}");
        assert!(errors.contains(message), "{env} {flag}: {errors}");
    }
}

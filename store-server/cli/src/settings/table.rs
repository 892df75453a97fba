//! The table of settings: one row each.

use std::sync::LazyLock;

use stillpoint_store_server::config::Config;
use toml::{Table, Value};

use super::kind::Kind;

/// One setting of the server.
pub struct Setting {
    /// Its place in the TOML file: `section.name` or `name`.
    pub key: &'static str,
    /// Its flag, without the dashes; the environment variable is made from it.
    pub flag: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it means.
    pub doc: &'static str,
    /// What holds where it has no default value.
    absent: &'static str,
}

const fn row(key: &'static str, flag: &'static str, kind: Kind, doc: &'static str) -> Setting {
    let absent = "none";
    Setting {
        key,
        flag,
        kind,
        doc,
        absent,
    }
}

impl Setting {
    const fn or_else(mut self, absent: &'static str) -> Self {
        self.absent = absent;
        self
    }
}

/// Every setting, in the order of the help.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    row("data_dir", "data-dir", Kind::Path, "Where the store keeps all it has"),
    row("socket", "socket", Kind::Path, "The data port's Unix socket")
        .or_else("stillpoint.sock in the data directory"),
    row("admin_socket", "admin-socket", Kind::Path, "The operator's Unix socket, made with mode 0600")
        .or_else("admin.sock in the data directory"),
    row("listen", "listen", Kind::Address,
        "A TCP address for the data port beside the socket, e.g. 127.0.0.1:7766; port 0 takes a free one"),
    row("allow_remote", "allow-remote", Kind::Switch,
        "Allow --listen to be an address that other machines reach; the port has neither encryption nor passwords"),
    row("shutdown_grace_secs", "shutdown-grace-secs", Kind::Seconds,
        "Time a stopping server gives the requests in flight"),
    row("declared_only", "declared-only", Kind::Switch,
        "Refuse collections that no --collection names, so that a misspelt name is an error"),
    row("collections", "collection", Kind::Collections,
        "What is special about a collection. Rules: when writes that do not say so themselves are answered, after the \
         log's fsync (synced) or before it (applied); and that only its owner may write a record (claims). `*` is any; \
         the first entry that fits counts; repeatable"),

    row("limits.connections", "max-connections", Kind::Count,
        "Connections on the data port; one more is closed with UNAVAILABLE"),
    row("limits.in_flight", "max-in-flight", Kind::Count,
        "Operations one connection may have in flight: its credits; one more is answered RATE_LIMITED"),
    row("limits.message_bytes", "max-message-bytes", Kind::Bytes, "Size of one message, either way"),
    row("limits.value_bytes", "max-value-bytes", Kind::Bytes, "Size of one value"),
    row("limits.nesting", "max-nesting", Kind::Count, "Levels of nesting of one value, at most 512"),
    row("limits.batch_ops", "max-batch-ops", Kind::Count,
        "Operations of one transaction, keys of one batch, steps of one patch"),
    row("limits.scan_page", "max-scan-page", Kind::Count,
        "Records of one scan page; a page also ends before it would exceed half a message"),
    row("limits.queue_ops", "max-queue-ops", Kind::Count,
        "Writes waiting for the writer, of all connections; one more is answered RATE_LIMITED"),
    row("limits.queue_bytes", "max-queue-bytes", Kind::Bytes, "Size of the writes waiting for the writer"),
    row("limits.sessions", "max-sessions", Kind::Count,
        "Sessions of all namespaces; one more is refused with QUOTA"),
    row("limits.claims", "max-claims", Kind::Count,
        "Records that one session may own; one more is refused with QUOTA"),
    row("limits.timers", "max-timers", Kind::Count,
        "Timers of all namespaces; one more is refused with QUOTA"),
    row("limits.watches", "max-watches", Kind::Count,
        "Watches of all connections; one more is refused with QUOTA"),
    row("limits.commands", "max-commands", Kind::Count,
        "Commands and notices of operators that one process may have open; one more fails for that process"),

    row("sessions.ttl_secs", "session-ttl-secs", Kind::Seconds,
        "Time that a session lives without a word from its holder, where the holder does not say"),
    row("sessions.ttl_max_secs", "session-ttl-max-secs", Kind::Seconds,
        "Longest such time that a holder may ask for, and longest that a session is kept for a successor"),
    row("sessions.reattach_ms", "session-reattach-ms", Kind::Millis,
        "Time after a start of the server for which sessions wait for their holders to come back, before an instance \
         that does not say `takeover` may succeed them"),

    row("management.timeout_ms", "command-timeout-ms", Kind::Millis,
        "Time that a process has for its answer to an operator, where the operator does not say"),
    row("management.successor_ms", "successor-ms", Kind::Millis,
        "Time that a restarted process has until its successor has its session, where the operator does not say"),
    row("management.audit_days", "audit-days", Kind::Count, "Days for which it is kept what operators have asked"),

    row("backup.target", "backup-target", Kind::Target,
        "Where the server's own backups go: an absolute path, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or \
         az://CONTAINER/PREFIX, of which each store needs one of its own"),
    row("backup.key_file", "backup-key-file", Kind::Path,
        "A file with the key that backups are encrypted with, 64 hexadecimal digits")
        .or_else("none, they are not encrypted"),
    row("backup.bytes_per_second", "backup-bytes-per-second", Kind::Bytes,
        "Read at most so much a second for a backup that the server takes by itself; 0: as fast as it goes"),
    row("backup.full", "backup-full", Kind::Cron,
        "When a full backup is taken, in UTC, e.g. '30 3 * * SUN'").or_else("never"),
    row("backup.incremental", "backup-incremental", Kind::Cron,
        "When an incremental backup is taken, in UTC, e.g. '*/15 * * * *'").or_else("never"),
    row("backup.verify", "backup-verify", Kind::Cron,
        "When the newest backup is restored for trial and compared, in UTC, e.g. '0 5 * * *'").or_else("never"),
    row("backup.expire", "backup-expire", Kind::Cron,
        "When the backups that are not to be kept are removed, in UTC, e.g. '0 6 * * *'").or_else("never"),
    row("backup.keep_hourly", "backup-keep-hourly", Kind::Count,
        "Keep the newest backup of each of so many hours"),
    row("backup.keep_daily", "backup-keep-daily", Kind::Count, "Keep the newest backup of each of so many days"),
    row("backup.keep_weekly", "backup-keep-weekly", Kind::Count, "Keep the newest backup of each of so many weeks"),
    row("backup.keep_monthly", "backup-keep-monthly", Kind::Count, "Keep the newest backup of each of so many months"),
    row("backup.scratch", "backup-scratch", Kind::Path,
        "Where trial restores have room for a copy of the store").or_else("beside the data directory"),

    row("migration.records_per_second", "migration-records-per-second", Kind::Count,
        "Rewrite at most so many records a second for a migration, where the operator does not say"),
    row("migration.failed_max", "migration-failed-max", Kind::Count,
        "Stop rewriting a collection when more of its records than this cannot be migrated, where the operator does not \
         say"),

    row("log.segment_bytes", "segment-bytes", Kind::Bytes,
        "Size after which a segment of the log is sealed and a new one begun"),
    row("log.retention_bytes", "retention-bytes", Kind::Bytes,
        "Remove the oldest log segments while the log is larger than this; what the newest checkpoint does not cover \
         and what --dedup-window-secs needs always stays"),
    row("log.retention_secs", "retention-secs", Kind::Seconds,
        "Remove log segments whose newest commit is older than this, within the same bounds"),
    row("log.checkpoint_bytes", "checkpoint-bytes", Kind::Bytes, "Take a checkpoint after this much log"),
    row("log.checkpoint_secs", "checkpoint-secs", Kind::Seconds,
        "Take a checkpoint when the last one is so old and does not have everything; 0: however old it is"),
    row("log.checkpoint_bytes_per_second", "checkpoint-bytes-per-second", Kind::Bytes,
        "Read at most so much a second for a checkpoint; 0: as fast as it goes"),
    row("log.dedup_window_secs", "dedup-window-secs", Kind::Seconds,
        "Time for which the answer of a write is remembered for its repeat"),
    row("log.dedup_entries", "dedup-entries", Kind::Count,
        "Answers remembered per writer; a write beyond them is refused with QUOTA until the writer says which answers \
         it has got; at least --max-in-flight"),
    row("log.applied_sync_ms", "applied-sync-ms", Kind::Millis,
        "Longest time between append and fsync of a write with durability `applied`: what a power cut may take"),
    row("log.disk_reserve_bytes", "disk-reserve-bytes", Kind::Bytes,
        "Stop taking writes while the disk has less free space than this"),
    row("log.verify_at_start", "verify-at-start", Kind::Switch,
        "Read and check the whole log at start, not only the part that is replayed"),

    row("view.engine", "engine", Kind::Engine,
        "The key-value engine: sled (files), or memory (rebuilt at each start, for tests and small stores)"),
    row("view.cache_bytes", "cache-bytes", Kind::Bytes, "Size of the engine's cache"),
    row("view.record_cache_bytes", "record-cache-bytes", Kind::Bytes,
        "Size of the cache of single records in front of the engine; 0: none"),
    row("view.overlay_bytes", "overlay-bytes", Kind::Bytes,
        "Committed records that may wait in memory for the engine; beyond it writes wait"),
];

/// The sections of the TOML file, with the headings of their flags.
pub const SECTIONS: &[(&str, &str)] = &[
    ("limits", "Bounds on what clients may ask for"),
    ("sessions", "Sessions of logic processes"),
    ("management", "What operators ask of logic processes"),
    ("backup", "Backups that the server takes by itself"),
    ("migration", "Migrations of records"),
    ("log", "The commit log"),
    ("view", "The view that reads are answered from"),
];

/// The heading of the settings without a section.
const GENERAL: &str = "Where and for whom";

static DEFAULTS: LazyLock<Table> = LazyLock::new(|| table_of(&Config::default()));

/// The setting at `key`.
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// Whether the file has a section of this name.
pub fn is_section(name: &str) -> bool {
    SECTIONS.iter().any(|(section, _)| *section == name)
}

/// A configuration as TOML; what is not set is left out.
pub fn table_of(config: &Config) -> Table {
    Table::try_from(config).expect("every setting has a TOML form")
}

/// The value at `section.name` or `name`.
pub fn get<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        Some((section, name)) => table.get(section)?.get(name),
        None => table.get(key),
    }
}

impl Setting {
    /// Its section in the file, if it is in one.
    pub fn section(&self) -> Option<&'static str> {
        self.key.split_once('.').map(|(section, _)| section)
    }

    /// Its name within its section.
    pub fn name(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(_, name)| name)
    }

    /// The heading of its flag in the help.
    pub fn heading(&self) -> &'static str {
        let of_section = |(section, _): &&(&str, &str)| Some(*section) == self.section();
        SECTIONS
            .iter()
            .find(of_section)
            .map_or(GENERAL, |(_, heading)| heading)
    }

    /// Its environment variable.
    pub fn env(&self) -> String {
        format!("STILLPOINT_{}", self.flag.replace('-', "_").to_uppercase())
    }

    /// Its default, for people.
    pub fn default_text(&self) -> String {
        match get(&DEFAULTS, self.key) {
            Some(value) => self.kind.show(value).unwrap_or_else(|| self.absent.into()),
            None => self.absent.into(),
        }
    }
}

//! Every setting of the server: what it means, its unit, its default.
//!
//! This is what the program runs on. What a user types (flags, environment, a TOML file) is merged into it by the
//! program.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};
use stillpoint_proto::{ADMIN_SOCKET, DATA_SOCKET, DEFAULT_DATA_DIR};

mod backup;
pub mod cron;
mod migration;

pub use self::{backup::BackupConfig, migration::MigrationConfig};

/// Every setting of the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the store keeps all it has. Default: `./stillpoint-data`.
    pub data_dir: PathBuf,
    /// The data port's Unix socket. Default: `stillpoint.sock` in the data directory.
    pub socket: Option<PathBuf>,
    /// The operator's Unix socket, made with mode 0600. Default: `admin.sock` in the data directory.
    pub admin_socket: Option<PathBuf>,
    /// A TCP address for the data port beside the socket, e.g. `127.0.0.1:7766`; port 0 takes a free one. Default: none.
    pub listen: Option<SocketAddr>,
    /// Allow `listen` to be an address that other machines reach. The port has neither encryption nor passwords.
    /// Default: false.
    pub allow_remote: bool,
    /// The bounds on what clients may ask for.
    pub limits: Limits,
    /// The commit log.
    pub log: LogConfig,
    /// The view of the log that reads are answered from.
    pub view: ViewConfig,
    /// Seconds a stopping server gives the requests in flight. Default: 10.
    pub shutdown_grace_secs: u64,
    /// Sessions of logic processes.
    pub sessions: SessionConfig,
    /// What operators ask of logic processes.
    pub management: ManagementConfig,
    /// Backups that the server takes by itself.
    pub backup: BackupConfig,
    /// How records are brought to another version of their schema.
    pub migration: MigrationConfig,
    /// What is special about certain collections; the first entry that fits counts.
    pub collections: Vec<CollectionConfig>,
    /// Refuse collections that no entry of `collections` fits, so that a misspelt name is an error. Default: false.
    pub declared_only: bool,
}

/// The bounds on what clients may ask for. Each has its own error, which names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections on the data port. One more is closed with UNAVAILABLE. Default: 4096.
    pub connections: usize,
    /// Operations one connection may have in flight: its credits. One more is answered RATE_LIMITED. Default: 4096.
    pub in_flight: usize,
    /// Bytes of one message, either way. Default: 8 MiB.
    pub message_bytes: usize,
    /// Bytes of one value. Default: 1 MiB.
    pub value_bytes: usize,
    /// Levels of nesting of one value. Default: 64.
    pub nesting: usize,
    /// Operations of one transaction, keys of one batch, steps of one patch. Default: 1024.
    pub batch_ops: usize,
    /// Records of one scan page; a page also ends before it would exceed half of `message_bytes`. Default: 1000.
    pub scan_page: usize,
    /// Writes waiting for the writer, of all connections. One more is answered RATE_LIMITED. Default: 65536.
    pub queue_ops: usize,
    /// Bytes of the writes waiting for the writer. Default: 256 MiB.
    pub queue_bytes: usize,
    /// Sessions of all namespaces. One more is refused with QUOTA. Default: 10000.
    pub sessions: usize,
    /// Records that one session may own. One more is refused with QUOTA. Default: 65536.
    pub claims: usize,
    /// Timers of all namespaces. One more is refused with QUOTA. Default: 1000000.
    pub timers: usize,
    /// Watches of all connections. One more is refused with QUOTA. Default: 10000.
    pub watches: usize,
    /// Commands and notices of operators that one process may have open. One more fails for that process. Default: 64.
    pub commands: usize,
}

/// Sessions of logic processes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionConfig {
    /// Seconds that a session lives without a word from its holder, where the holder does not say. Default: 10.
    pub ttl_secs: u64,
    /// Longest such time that a holder may ask for, and longest linger. Default: 3600.
    pub ttl_max_secs: u64,
    /// Milliseconds after a start of the server for which a session waits for its holder to come back, before an instance
    /// that does not say `takeover` may succeed it. Default: 1000.
    pub reattach_ms: u64,
}

/// What operators ask of logic processes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ManagementConfig {
    /// Milliseconds that a process has for its answer, where the operator does not say. Default: 10000.
    pub timeout_ms: u64,
    /// Milliseconds that a restarted process has until its successor has its session, where the operator does not say.
    /// Default: 30000.
    pub successor_ms: u64,
    /// Days for which it is kept what operators have asked. Default: 90.
    pub audit_days: u64,
}

/// The commit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// Bytes after which a segment is sealed and a new one begun. Default: 64 MiB.
    pub segment_bytes: u64,
    /// Remove the oldest segments while the log has more bytes than this ... An open watch that has not read them yet
    /// holds them until the log has twice as many. A durable cursor holds nothing: who comes back to one within the
    /// retention goes on there, later he is told the state anew. Default: 1 GiB.
    pub retention_bytes: u64,
    /// ... and those whose newest commit is older than this many seconds. Never removed: what the newest checkpoint
    /// does not cover, and what the dedup window needs. Default: 86400.
    pub retention_secs: u64,
    /// Take a checkpoint after this many bytes of log ... Default: 512 MiB.
    pub checkpoint_bytes: u64,
    /// ... and when the last one is this many seconds old and does not have everything; 0: however old it is. Default: 3600.
    pub checkpoint_secs: u64,
    /// Most bytes of records and log that a checkpoint reads per second, so that it does not hold up writers; 0: no limit.
    /// Default: 64 MiB.
    pub checkpoint_bytes_per_second: u64,
    /// Seconds for which the answer of a write is remembered for its repeat. Default: 600.
    pub dedup_window_secs: u64,
    /// Answers remembered per writer. A write beyond them is refused with QUOTA until the writer says which answers
    /// it has got. Default: 16384.
    pub dedup_entries: usize,
    /// Most milliseconds between the append and the fsync of a write with durability APPLIED: what a power cut may
    /// take. Default: 20.
    pub applied_sync_ms: u64,
    /// Stop taking writes while the disk has less free bytes than this. Default: 64 MiB.
    pub disk_reserve_bytes: u64,
    /// Read and check the whole log at start, not only the part that is replayed. Default: true.
    pub verify_at_start: bool,
}

/// The view of the log that reads are answered from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ViewConfig {
    /// The key-value engine. Default: sled.
    pub engine: EngineKind,
    /// Bytes of the engine's cache. Default: 256 MiB.
    pub cache_bytes: u64,
    /// Bytes of the cache of single records in front of the engine; 0: none. Default: 64 MiB.
    pub record_cache_bytes: u64,
    /// Bytes of committed records that may wait in memory for the engine; beyond it writes wait. Default: 64 MiB.
    pub overlay_bytes: usize,
}

/// The key-value engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// sled 0.34: files in the data directory.
    Sled,
    /// A map in memory, rebuilt from checkpoint and log at each start. For tests and for small stores.
    Memory,
}

/// What is special about certain collections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectionConfig {
    /// The namespace; `*` is any. Default: `*`.
    #[serde(default = "any")]
    pub namespace: String,
    /// The collection; `*` is any.
    pub collection: String,
    /// When writes that do not say so themselves are answered. Default: synced.
    #[serde(default)]
    pub durability: DurabilityKind,
    /// Whether a record can be written without owning it. Default: optional.
    #[serde(default)]
    pub claims: ClaimRule,
}

/// Whether a record can be written without owning it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClaimRule {
    /// While nobody owns it, anybody may write it.
    #[default]
    Optional,
    /// Only its owner may write it.
    Required,
}

/// When a write is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DurabilityKind {
    /// After the log's fsync.
    #[default]
    Synced,
    /// After the append; a power cut may take the last `applied_sync_ms`.
    Applied,
}

fn any() -> String {
    "*".into()
}

impl Limits {
    /// Bytes of records that one answer may have: half of a message, which leaves room for one more value and for what
    /// is around them.
    pub fn answer_bytes(&self) -> usize {
        self.message_bytes / 2
    }
}

const MIB: usize = 1 << 20;

impl Default for Config {
    fn default() -> Self {
        Config {
            data_dir: PathBuf::from(".").join(DEFAULT_DATA_DIR),
            socket: None,
            admin_socket: None,
            listen: None,
            allow_remote: false,
            limits: Limits::default(),
            log: LogConfig::default(),
            view: ViewConfig::default(),
            shutdown_grace_secs: 10,
            sessions: SessionConfig::default(),
            management: ManagementConfig::default(),
            backup: BackupConfig::default(),
            migration: MigrationConfig::default(),
            collections: Vec::new(),
            declared_only: false,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 4096,
            in_flight: 4096,
            message_bytes: 8 * MIB,
            value_bytes: MIB,
            nesting: 64,
            batch_ops: 1024,
            scan_page: 1000,
            queue_ops: 65536,
            queue_bytes: 256 * MIB,
            sessions: 10_000,
            claims: 65_536,
            timers: 1_000_000,
            watches: 10_000,
            commands: 64,
        }
    }
}

impl Default for SessionConfig {
    fn default() -> Self {
        SessionConfig {
            ttl_secs: 10,
            ttl_max_secs: 3600,
            reattach_ms: 1000,
        }
    }
}

impl Default for ManagementConfig {
    fn default() -> Self {
        ManagementConfig {
            timeout_ms: 10_000,
            successor_ms: 30_000,
            audit_days: 90,
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            segment_bytes: 64 << 20,
            retention_bytes: 1 << 30,
            retention_secs: 86400,
            checkpoint_bytes: 512 << 20,
            checkpoint_secs: 3600,
            checkpoint_bytes_per_second: 64 << 20,
            dedup_window_secs: 600,
            dedup_entries: 16384,
            applied_sync_ms: 20,
            disk_reserve_bytes: 64 << 20,
            verify_at_start: true,
        }
    }
}

impl Default for ViewConfig {
    fn default() -> Self {
        ViewConfig {
            engine: EngineKind::Sled,
            cache_bytes: 256 << 20,
            record_cache_bytes: 64 << 20,
            overlay_bytes: 64 * MIB,
        }
    }
}

impl Config {
    /// The data port's socket.
    pub fn socket_path(&self) -> PathBuf {
        (self.socket.clone()).unwrap_or_else(|| self.data_dir.join(DATA_SOCKET))
    }

    /// The operator's socket.
    pub fn admin_socket_path(&self) -> PathBuf {
        (self.admin_socket.clone()).unwrap_or_else(|| self.data_dir.join(ADMIN_SOCKET))
    }

    /// What is special about a collection, if an entry fits it.
    pub fn collection(&self, namespace: &str, collection: &str) -> Option<&CollectionConfig> {
        let fits = |pattern: &str, name: &str| pattern == "*" || pattern == name;
        (self.collections.iter())
            .find(|c| fits(&c.namespace, namespace) && fits(&c.collection, collection))
    }

    /// Refuses settings that cannot work together; the message names the setting and the remedy.
    pub fn check(&self) -> Result<(), String> {
        let l = &self.limits;
        for (name, value) in [
            ("limits.connections", l.connections),
            ("limits.in_flight", l.in_flight),
            ("limits.nesting", l.nesting),
            ("limits.batch_ops", l.batch_ops),
            ("limits.scan_page", l.scan_page),
            ("limits.queue_ops", l.queue_ops),
            ("limits.sessions", l.sessions),
            ("limits.claims", l.claims),
            ("limits.timers", l.timers),
            ("limits.watches", l.watches),
            ("limits.commands", l.commands),
            ("log.dedup_entries", self.log.dedup_entries),
        ] {
            if value == 0 {
                return Err(format!("{name} is 0: set at least 1"));
            }
        }
        if l.nesting > 512 {
            return Err(format!("limits.nesting is {}: set at most 512", l.nesting));
        }
        if l.value_bytes * 2 > l.message_bytes {
            return Err(format!(
                "limits.message_bytes is {}: a message must hold two values of limits.value_bytes = {}",
                l.message_bytes, l.value_bytes
            ));
        }
        for (name, queue, of_a_connection, limit) in [
            (
                "limits.queue_ops",
                l.queue_ops,
                "limits.in_flight",
                l.in_flight,
            ),
            (
                "limits.queue_bytes",
                l.queue_bytes,
                "limits.message_bytes",
                l.message_bytes,
            ),
        ] {
            if queue < limit {
                return Err(format!(
                    "{name} is {queue}: what one connection may send at once ({of_a_connection} = {limit}) must fit in"
                ));
            }
        }
        if self.log.dedup_entries < l.in_flight {
            return Err(format!(
                "log.dedup_entries is {}: it must be at least limits.in_flight = {}",
                self.log.dedup_entries, l.in_flight
            ));
        }
        let s = &self.sessions;
        if s.ttl_secs == 0 || s.ttl_secs > s.ttl_max_secs {
            return Err(format!(
                "sessions.ttl_secs is {}: it must be at least 1 and at most sessions.ttl_max_secs = {}",
                s.ttl_secs, s.ttl_max_secs
            ));
        }
        let m = &self.management;
        for (name, value) in [
            ("management.timeout_ms", m.timeout_ms),
            ("management.successor_ms", m.successor_ms),
            ("management.audit_days", m.audit_days),
        ] {
            if value == 0 {
                return Err(format!("{name} is 0: set at least 1"));
            }
        }
        if self.log.segment_bytes < 1 << 16 {
            return Err("log.segment_bytes is too small: set at least 65536".into());
        }
        if let Some(address) = self.listen
            && !address.ip().is_loopback()
            && !self.allow_remote
        {
            return Err(format!(
                "listen = {address} is reachable from other machines, without encryption or passwords: use a \
                 loopback address such as 127.0.0.1:{}, or set allow_remote = true",
                address.port()
            ));
        }
        self.migration.check()?;
        self.backup.check()
    }
}

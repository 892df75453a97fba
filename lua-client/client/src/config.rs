//! What a client is told.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use stillpoint_proto::v1;

/// Where to connect to and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// Endpoints, tried in order: `unix:PATH` or `http://host:port`.
    pub endpoints: Vec<String>,
    /// Namespace of everything the client reads and writes.
    pub namespace: String,
    /// The session to open, which then stands behind every write. `None` unless set: tools need none.
    pub session: Option<SessionConfig>,
    /// Name of the client program, for the operator's eye. May be empty.
    pub client_name: String,
    /// How long an operation may take in all, unless its own options say otherwise. 2 s unless set.
    pub deadline: Duration,
    /// How long one attempt to reach one endpoint may take. 1 s unless set.
    pub connect_timeout: Duration,
    /// How long [`Client::connect`](crate::Client::connect) keeps trying. Zero unless set: each endpoint is tried once.
    pub connect_patience: Duration,
    /// Operations that may wait to be sent; one more is refused with RATE_LIMITED. 65,536 unless set.
    pub queue_max: usize,
    /// Bytes of one message, either way; the server's own limit holds too. 16 MiB unless set.
    pub message_bytes_max: usize,
    /// Bytes of messages that each watch keeps for its taker; at the limit the store is left to wait. 4 MiB unless set.
    pub watch_bytes_max: usize,
    /// Longest time a blocking wait spins before it sleeps. 80 µs unless set; zero: never. A wait spins only where that
    /// has made waits of its kind shorter, and never where they are longer than this.
    pub spin_max: Duration,
}

impl Config {
    /// The defaults, with one endpoint.
    pub fn new(endpoint: impl Into<String>, namespace: impl Into<String>) -> Self {
        Config {
            endpoints: vec![endpoint.into()],
            namespace: namespace.into(),
            session: None,
            client_name: String::new(),
            deadline: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(1),
            connect_patience: Duration::ZERO,
            queue_max: 65_536,
            message_bytes_max: 16 * 1024 * 1024,
            watch_bytes_max: 4 * 1024 * 1024,
            spin_max: Duration::from_micros(80),
        }
    }
}

/// The session a client opens.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// The service this process is an instance of, e.g. `battle`.
    pub service: String,
    /// Which instance of it, e.g. `battle-3`.
    pub instance: String,
    /// Take the session from a holder that is still there. False unless set.
    pub takeover: bool,
    /// The same, shown to be right by the holder's own token. Empty unless set.
    pub resume_token: Bytes,
    /// How long the session lives without a word from this process. Zero, unless set: the server's default.
    pub ttl: Duration,
    /// How long to wait for a holder that is still there. Zero unless set: refused at once.
    pub wait: Duration,
    /// For the operator, and for selecting instances. Empty unless set.
    pub labels: BTreeMap<String, String>,
    /// Version of the program's code, for the operator. Empty unless set.
    pub code_version: String,
    /// The version of its data schema that the program reads and writes, by collection. Of the others, the one that the
    /// store has when the session is opened. Empty unless set.
    pub schemas: BTreeMap<String, u32>,
}

impl SessionConfig {
    /// The defaults, for this identity.
    pub fn new(service: impl Into<String>, instance: impl Into<String>) -> Self {
        SessionConfig {
            service: service.into(),
            instance: instance.into(),
            takeover: false,
            resume_token: Bytes::new(),
            ttl: Duration::ZERO,
            wait: Duration::ZERO,
            labels: BTreeMap::new(),
            code_version: String::new(),
            schemas: BTreeMap::new(),
        }
    }
}

/// What holds for one operation. The default is the client's deadline, no lane, the collection's durability.
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    /// How long the operation may take in all, connecting and repeating included. `None`: as the client is configured.
    pub deadline: Option<Duration>,
    /// Operations of one lane take effect in the order submitted. 0: no order.
    pub lane: u64,
    /// When a write is answered.
    pub durability: v1::Durability,
    /// Names a write for ever, so that another process can repeat it. Only for writes.
    pub once: Option<v1::OnceKey>,
}

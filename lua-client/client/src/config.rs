//! What a client is told.

use std::time::Duration;

use stillpoint_proto::v1;

/// Where to connect to and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// Endpoints, tried in order: `unix:PATH` or `http://host:port`.
    pub endpoints: Vec<String>,
    /// Namespace of everything the client reads and writes.
    pub namespace: String,
    /// The service this process is an instance of, e.g. `battle`. For the operator's eye.
    pub service: Option<String>,
    /// Which instance of it, e.g. `battle-3`. For the operator's eye.
    pub instance: Option<String>,
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
            service: None,
            instance: None,
            client_name: String::new(),
            deadline: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(1),
            connect_patience: Duration::ZERO,
            queue_max: 65_536,
            message_bytes_max: 16 * 1024 * 1024,
            spin_max: Duration::from_micros(80),
        }
    }
}

/// What holds for one operation. The default is the client's deadline, no lane, the collection's durability.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallOptions {
    /// How long the operation may take in all, connecting and repeating included. `None`: as the client is configured.
    pub deadline: Option<Duration>,
    /// Operations of one lane take effect in the order submitted. 0: no order.
    pub lane: u64,
    /// When a write is answered.
    pub durability: v1::Durability,
}

//! The client as its users see it.

use std::{io, os::fd::RawFd, time::Duration};

use stillpoint_proto::v1::{self, Reason, StoreError};

use crate::config::{CallOptions, Config};

/// What an operation came to.
pub type Outcome = Result<Reply, StoreError>;

/// The answer to an operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// Where the answer comes from.
    pub header: v1::ResponseHeader,
    /// The answer; never `Error`.
    pub kind: v1::op_result::Kind,
}

/// What the client knows of its connection.
#[derive(Clone, Debug)]
pub struct Info {
    /// The server's limits, as of the newest connection.
    pub limits: v1::PipelineOpened,
    /// The newest header seen.
    pub header: v1::ResponseHeader,
    /// Whether the connection stands, as far as known.
    pub connected: bool,
    /// The endpoint connected to, or tried last.
    pub endpoint: String,
}

/// A connection to the store. Clones share it; usable from many threads.
#[derive(Clone, Debug)]
pub struct Client {
    config: Config,
}

fn not_yet() -> StoreError {
    StoreError::new(Reason::Internal, "not built yet")
}

impl Client {
    /// Connects; returns once the store has answered.
    pub fn connect(config: Config) -> Result<Client, StoreError> {
        Ok(Client { config })
    }

    /// Queues an operation and returns its id. Never blocks; the operation is sent with the next `wait`, `poll` or
    /// `call`, or by the background thread within 20 ms.
    pub fn submit(&self, _op: v1::Op, _options: CallOptions) -> Result<u64, StoreError> {
        Err(not_yet())
    }

    /// Waits for an operation, driving the connection from this thread. `None`: not done within `timeout`, or the id
    /// is unknown (never given, taken or forgotten).
    pub fn wait(&self, _id: u64, _timeout: Duration) -> Option<Outcome> {
        None
    }

    /// Takes an operation's outcome if it is done, without driving.
    pub fn take(&self, _id: u64) -> Option<Outcome> {
        None
    }

    /// The next operation that is done, each told once, in order of completion; its outcome is then there to `take`.
    pub fn next(&self) -> Option<u64> {
        None
    }

    /// Drives until `next` would return something, or `timeout`; returns how many it would return.
    pub fn poll(&self, _timeout: Duration) -> usize {
        0
    }

    /// Drops the interest in an operation: it is still sent, but its outcome is neither told nor kept.
    pub fn forget(&self, _id: u64) {}

    /// Submits and waits until done; the deadline bounds it.
    pub fn call(&self, _op: v1::Op, _options: CallOptions) -> Outcome {
        Err(not_yet())
    }

    /// A file descriptor that is readable while `next` would return something. It belongs to the client.
    pub fn wake_fd(&self) -> io::Result<RawFd> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// What the client knows of its connection.
    pub fn info(&self) -> Info {
        Info {
            limits: v1::PipelineOpened::default(),
            header: v1::ResponseHeader::default(),
            connected: false,
            endpoint: self.config.endpoints[0].clone(),
        }
    }

    /// Waits for what is in flight, then closes the connection; every later operation is refused.
    pub fn close(&self, _timeout: Duration) -> Result<(), StoreError> {
        Ok(())
    }
}

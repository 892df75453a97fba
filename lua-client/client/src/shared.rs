//! What the runtime's tasks and the callers share, and how a task waits for a change of it.

use std::{future::poll_fn, task::Poll};

use parking_lot::{Condvar, Mutex};
use stillpoint_proto::v1;

use crate::{
    Config, SessionConfig,
    endpoint::Endpoint,
    ledger::{Ledger, Want},
    watch::Line,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Shared {
    pub config: Config,
    pub endpoints: Vec<Endpoint>,
    /// Under which this client numbers its writes.
    writer_id: [u8; 16],
    pub ledger: Mutex<Ledger>,
    /// The connection that all watches share.
    pub line: Line,
    /// Rings the background thread.
    pub bell: Condvar,
}

impl Shared {
    pub fn new(config: Config, endpoints: Vec<Endpoint>, ledger: Ledger) -> Self {
        Shared {
            config,
            endpoints,
            writer_id: rand::random(),
            ledger: Mutex::new(ledger),
            line: Line::default(),
            bell: Condvar::new(),
        }
    }

    /// Namespace, session and fence, as every request names them.
    pub fn context(&self) -> v1::RequestContext {
        let namespace = &self.config.namespace;
        match &self.ledger.lock().session {
            Some(held) => held.context(namespace),
            None => v1::RequestContext {
                namespace: namespace.clone(),
                ..Default::default()
            },
        }
    }

    /// The first frame of each connection.
    pub fn opening(&self) -> v1::PipelineOpen {
        let config = &self.config;
        let client_name = match &config.session {
            Some(SessionConfig {
                service, instance, ..
            }) => format!("{service}/{instance} {}", config.client_name),
            None => config.client_name.clone(),
        };
        v1::PipelineOpen {
            context: Some(v1::RequestContext {
                idempotency_key: Some(v1::IdempotencyKey {
                    writer_id: self.writer_id.to_vec().into(),
                    ..Default::default()
                }),
                ..self.context()
            }),
            client_name: client_name.trim_end().to_string(),
        }
    }

    /// Waits until `ready` gives something; looks again whenever `want` is met.
    pub async fn until<T>(&self, want: Want, mut ready: impl FnMut(&mut Ledger) -> Option<T>) -> T {
        let mut waiting = Waiting {
            shared: self,
            ticket: 0,
        };
        poll_fn(|cx| {
            let mut ledger = self.ledger.lock();
            if let Some(out) = ready(&mut ledger) {
                return Poll::Ready(out);
            }
            waiting.ticket = ledger.waiters.enter(waiting.ticket, want, cx.waker());
            Poll::Pending
        })
        .await
    }
}

/// Leaves the waiters, even if the task is ended.
struct Waiting<'a> {
    shared: &'a Shared,
    ticket: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.ledger.lock().waiters.leave(self.ticket);
    }
}

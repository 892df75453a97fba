//! What the server tells while it does something, message by message.

use stillpoint_proto::v1::{Reason, StoreError};
use tonic::{Status, Streaming};

use super::blocking::Blocking;
use crate::{connection::loss, endpoint::Endpoint};

/// So often the connection's task gets a turn when a call is given up: it has to notice that, and to write it.
const TURNS_TO_END: usize = 8;

/// The messages of an answer, as they come. The next one is waited for as long as it takes. Dropping this early leaves what
/// was asked for: the service's method says what becomes of it then.
#[derive(Debug)]
pub struct Messages<'a, M> {
    runtime: &'a Blocking,
    endpoint: &'a Endpoint,
    /// Taken out at the end.
    messages: Option<Streaming<M>>,
}

impl<'a, M> Messages<'a, M> {
    pub(super) fn new(
        runtime: &'a Blocking,
        endpoint: &'a Endpoint,
        messages: Streaming<M>,
    ) -> Self {
        Messages {
            runtime,
            endpoint,
            messages: Some(messages),
        }
    }

    fn failed(&self, status: &Status) -> StoreError {
        let mut error = StoreError::from_status(status);
        if error.reason() == Reason::Unavailable {
            error.message = loss(self.endpoint, status);
        }
        error
    }
}

impl<M: Send> Iterator for Messages<'_, M> {
    type Item = Result<M, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let messages = self.messages.as_mut()?;
        let next = match self.runtime.run(messages.message()) {
            Ok(Some(message)) => return Some(Ok(message)),
            Ok(None) => None,
            Err(status) => Some(Err(self.failed(&status))),
        };
        self.messages = None;
        next
    }
}

impl<M> Drop for Messages<'_, M> {
    fn drop(&mut self) {
        // Nobody runs the connection until the next call, and the server is to know at once.
        if self.messages.take().is_some() {
            self.runtime.run(async {
                for _ in 0..TURNS_TO_END {
                    tokio::task::yield_now().await;
                }
            });
        }
    }
}

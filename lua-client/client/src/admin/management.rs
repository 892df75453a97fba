//! How an action on running processes goes, message by message.

use stillpoint_proto::v1::{self, Reason, StoreError};
use tonic::Streaming;

use super::blocking::Blocking;
use crate::{connection::loss, endpoint::Endpoint};

/// So often the connection's task gets a turn when a call is given up: it has to notice that, and to write it.
const TURNS_TO_END: usize = 8;

/// The messages of an action, as they come: `begun` first, `summary` last. The next one is waited for as long as it takes.
/// Dropping this early leaves the action: see `ManagementService.Manage` for what is done of it then.
#[derive(Debug)]
pub struct Management<'a> {
    runtime: &'a Blocking,
    endpoint: &'a Endpoint,
    /// Taken out at the end.
    messages: Option<Streaming<v1::ManageResponse>>,
}

impl<'a> Management<'a> {
    pub(super) fn new(
        runtime: &'a Blocking,
        endpoint: &'a Endpoint,
        messages: Streaming<v1::ManageResponse>,
    ) -> Self {
        Management {
            runtime,
            endpoint,
            messages: Some(messages),
        }
    }
}

impl Iterator for Management<'_> {
    type Item = Result<v1::ManageResponse, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let messages = self.messages.as_mut()?;
        let next = match self.runtime.run(messages.message()) {
            Ok(Some(message)) => return Some(Ok(message)),
            Ok(None) => None,
            Err(status) => {
                let mut error = StoreError::from_status(&status);
                if error.reason() == Reason::Unavailable {
                    error.message = loss(self.endpoint, &status);
                }
                Some(Err(error))
            }
        };
        self.messages = None;
        next
    }
}

impl Drop for Management<'_> {
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

//! Runs futures for callers that block.

use std::{future::Future, thread};

use stillpoint_proto::v1::StoreError;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::error;

/// A runtime for one call at a time.
#[derive(Debug)]
pub(super) struct Blocking {
    /// Taken out only when dropped.
    runtime: Option<Runtime>,
}

impl Blocking {
    pub fn new() -> Result<Self, StoreError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| error::internal("cannot set up the client's event loop", &e))?;
        Ok(Blocking {
            runtime: Some(runtime),
        })
    }

    /// Runs a future to its end, on a thread of its own if this one belongs to another runtime.
    pub fn run<F>(&self, future: F) -> F::Output
    where
        F: Future + Send,
        F::Output: Send,
    {
        let runtime = self.runtime.as_ref().expect("taken only when dropped");
        if Handle::try_current().is_err() {
            return runtime.block_on(future);
        }
        thread::scope(|scope| {
            let call = scope.spawn(|| runtime.block_on(future));
            call.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        // Allowed within another runtime, where a plain drop panics.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

//! The operator's port, one blocking call at a time.

use std::{future::Future, thread, time::Duration};

use stillpoint_proto::v1::{self, Reason, StoreError, admin_service_client::AdminServiceClient};
use tokio::runtime::{Builder, Handle, Runtime};
use tonic::{Response, Status, transport::Channel};

use crate::{endpoint::Endpoint, error};

/// A connection to the operator's port. Each call blocks for at most the deadline.
#[derive(Debug)]
pub struct AdminClient {
    service: AdminServiceClient<Channel>,
    endpoint: Endpoint,
    deadline: Duration,
    runtime: Blocking,
}

impl AdminClient {
    /// Connects to `unix:PATH` or `http://host:port`; `deadline` bounds the connecting and each call.
    pub fn connect(endpoint: &str, deadline: Duration) -> Result<AdminClient, StoreError> {
        let endpoint = Endpoint::parse(endpoint)?;
        let runtime = Blocking::new()?;
        let channel = runtime
            .run(endpoint.dial(deadline))
            .map_err(|cause| StoreError::new(Reason::Unavailable, cause))?;
        Ok(AdminClient {
            service: AdminServiceClient::new(channel),
            endpoint,
            deadline,
            runtime,
        })
    }

    /// How the store is.
    pub fn status(&mut self) -> Result<v1::GetStatusResponse, StoreError> {
        let call = self.service.get_status(v1::GetStatusRequest {});
        finish(&self.runtime, &self.endpoint, self.deadline, call)
    }

    /// The sessions of logic processes. An empty namespace or service stands for all.
    pub fn sessions(
        &mut self,
        namespace: &str,
        service: &str,
    ) -> Result<v1::ListSessionsResponse, StoreError> {
        let call = self.service.list_sessions(v1::ListSessionsRequest {
            namespace: namespace.into(),
            service: service.into(),
        });
        finish(&self.runtime, &self.endpoint, self.deadline, call)
    }
}

/// Runs a call to its end, or to its deadline.
fn finish<T: Send>(
    runtime: &Blocking,
    endpoint: &Endpoint,
    deadline: Duration,
    call: impl Future<Output = Result<Response<T>, Status>> + Send,
) -> Result<T, StoreError> {
    runtime.run(async {
        match tokio::time::timeout(deadline, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(StoreError::from_status(&status)),
            Err(_) => {
                let phase = format!("sent to {endpoint}, no answer");
                Err(error::deadline_exceeded(deadline, &phase, false))
            }
        }
    })
}

/// A runtime for one call at a time.
#[derive(Debug)]
struct Blocking {
    /// Taken out only when dropped.
    runtime: Option<Runtime>,
}

impl Blocking {
    fn new() -> Result<Self, StoreError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| error::internal("cannot set up the client's event loop", &e))?;
        Ok(Blocking {
            runtime: Some(runtime),
        })
    }

    /// Runs a future to its end, on a thread of its own if this one belongs to another runtime.
    fn run<F>(&self, future: F) -> F::Output
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

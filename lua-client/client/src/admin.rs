//! The operator's port, one blocking call at a time.

use std::{future::Future, thread, time::Duration};

use stillpoint_proto::v1::{self, Reason, StoreError, admin_service_client::AdminServiceClient};
use tokio::runtime::{Builder, Handle, Runtime};
use tonic::transport::Channel;

use crate::{endpoint::Endpoint, error};

/// A connection to the operator's port. Each call blocks for at most the deadline.
#[derive(Debug)]
pub struct AdminClient {
    service: AdminServiceClient<Channel>,
    endpoint: Endpoint,
    deadline: Duration,
    /// Taken out only when dropped.
    runtime: Option<Runtime>,
}

impl AdminClient {
    /// Connects to `unix:PATH` or `http://host:port`; `deadline` bounds the connecting and each call.
    pub fn connect(endpoint: &str, deadline: Duration) -> Result<AdminClient, StoreError> {
        let endpoint = Endpoint::parse(endpoint)?;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| error::internal("cannot set up the client's event loop", &e))?;
        let channel = block_on(&runtime, endpoint.dial(deadline))
            .map_err(|cause| StoreError::new(Reason::Unavailable, cause))?;
        Ok(AdminClient {
            service: AdminServiceClient::new(channel),
            endpoint,
            deadline,
            runtime: Some(runtime),
        })
    }

    /// How the store is.
    pub fn status(&mut self) -> Result<v1::GetStatusResponse, StoreError> {
        let (service, deadline, endpoint) = (&mut self.service, self.deadline, &self.endpoint);
        let Some(runtime) = &self.runtime else {
            return Err(error::closed(false));
        };
        let call = async {
            let call = service.get_status(v1::GetStatusRequest {});
            match tokio::time::timeout(deadline, call).await {
                Ok(Ok(response)) => Ok(response.into_inner()),
                Ok(Err(status)) => Err(StoreError::from_status(&status)),
                Err(_) => {
                    let phase = format!("sent to {endpoint}, no answer");
                    Err(error::deadline_exceeded(deadline, &phase, false))
                }
            }
        };
        block_on(runtime, call)
    }
}

impl Drop for AdminClient {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs a future to its end, on a thread of its own if this one belongs to another runtime.
fn block_on<F>(runtime: &Runtime, future: F) -> F::Output
where
    F: Future + Send,
    F::Output: Send,
{
    if Handle::try_current().is_err() {
        return runtime.block_on(future);
    }
    thread::scope(|scope| {
        let call = scope.spawn(|| runtime.block_on(future));
        call.join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

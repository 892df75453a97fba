//! `SessionService`.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::stream;
use stillpoint_proto::v1::{
    AttachRequest, AttachResponse, CloseSessionRequest, CloseSessionResponse, OpenSessionRequest,
    OpenSessionResponse, StoreError, session_service_server::SessionService,
};
use tokio::sync::watch;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    SessionKey,
    attach::Attach,
    hub::Hub,
    open::{change_session, open},
};
use crate::store::session::SessionChange;

/// `SessionService` on a hub.
#[derive(Clone, Debug)]
pub struct SessionApi {
    /// The hub.
    pub hub: Arc<Hub>,
    /// Becomes true when the server stops.
    pub stopping: watch::Receiver<bool>,
}

impl SessionApi {
    async fn close(
        &self,
        request: CloseSessionRequest,
    ) -> Result<CloseSessionResponse, StoreError> {
        let store = self.hub.store();
        let context = request.context.unwrap_or_default();
        store.check_context(&context)?;
        let session = {
            let index = store.index();
            let found = index.session_at(&context.namespace, &context.session_id, context.fence)?;
            found.clone()
        };
        let longest = Duration::from_secs(store.config().sessions.ttl_max_secs);
        let (id, fence) = (session.id.clone(), context.fence);
        let change = if request.keep_claims {
            let linger_ms = match request.linger_ms {
                0 => session.ttl_ms,
                linger_ms => linger_ms.min(longest.as_millis() as u64),
            };
            SessionChange::Release {
                id,
                fence,
                linger_ms,
            }
        } else {
            SessionChange::End { id, fence }
        };
        let key = SessionKey {
            namespace: context.namespace.as_str().into(),
            id: session.id.clone(),
        };
        self.hub.hear_out(&key, fence).await;
        change_session(store, &context.namespace, change).await?;
        Ok(CloseSessionResponse {
            header: Some(store.header()),
        })
    }
}

#[tonic::async_trait]
impl SessionService for SessionApi {
    async fn open_session(
        &self,
        request: Request<OpenSessionRequest>,
    ) -> Result<Response<OpenSessionResponse>, Status> {
        let opened = open(&self.hub, request.into_inner(), self.stopping.clone()).await;
        opened.map(Response::new).map_err(|error| error.to_status())
    }

    type AttachStream = Pin<Box<dyn Stream<Item = Result<AttachResponse, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let attach = Attach::begin(&self.hub, request.into_inner(), self.stopping.clone()).await?;
        let messages = stream::unfold(attach, |mut attach| async {
            Some((attach.next().await?, attach))
        });
        Ok(Response::new(Box::pin(messages)))
    }

    async fn close_session(
        &self,
        request: Request<CloseSessionRequest>,
    ) -> Result<Response<CloseSessionResponse>, Status> {
        let closed = self.close(request.into_inner()).await;
        closed.map(Response::new).map_err(|error| error.to_status())
    }
}

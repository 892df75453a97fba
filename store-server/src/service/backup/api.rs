//! `BackupService`.

use std::{pin::Pin, sync::Arc};

use stillpoint_proto::v1::{
    CreateBackupRequest, CreateBackupResponse, GetHistoryRequest, GetHistoryResponse,
    ListMarksRequest, ListMarksResponse, Mark, MarkLabelRequest, MarkLabelResponse, Reason,
    RequestContext, ResponseHeader, StoreError, backup_service_server::BackupService,
};
use tokio::sync::{oneshot, watch};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use super::{create::Backups, history};
use crate::{service::peer, store::Store};

/// `BackupService` on a store.
#[derive(Debug)]
pub struct BackupApi {
    store: Store,
    backups: Arc<Backups>,
}

impl BackupApi {
    /// The service of a store; `stopping` ends what is under way.
    pub fn new(store: Store, stopping: watch::Receiver<bool>) -> BackupApi {
        let backups = Backups::new(store.clone(), stopping);
        BackupApi { store, backups }
    }

    async fn mark(
        &self,
        request: MarkLabelRequest,
        peer: String,
    ) -> Result<MarkLabelResponse, StoreError> {
        self.check_namespace(&request.namespace)?;
        let actor = match request.actor.is_empty() {
            true => peer,
            false => request.actor,
        };
        let (told, committed) = oneshot::channel();
        let (namespace, label, note) = (&request.namespace, &request.label, &request.note);
        let time_ms = (self.store).mark(namespace, label, note, &actor, |committed| {
            // Who has gone away wants no answer.
            drop(told.send(committed));
        })?;
        let committed = committed.await.unwrap_or_else(|_| {
            let message = "the server stopped before the label was written";
            Err(StoreError::new(Reason::Unavailable, message))
        })?;
        tracing::info!(label, namespace, actor, "a moment was labelled");
        Ok(MarkLabelResponse {
            header: Some(ResponseHeader {
                revision: committed.revision,
                ..self.store.header()
            }),
            seq: committed.seq,
            mark: Some(Mark {
                namespace: request.namespace,
                label: request.label,
                revision: committed.revision,
                time_ms,
                note: request.note,
                actor,
            }),
        })
    }

    fn check_namespace(&self, namespace: &str) -> Result<(), StoreError> {
        self.store.check_context(&RequestContext {
            namespace: namespace.into(),
            ..RequestContext::default()
        })
    }
}

#[tonic::async_trait]
impl BackupService for BackupApi {
    type CreateBackupStream =
        Pin<Box<dyn Stream<Item = Result<CreateBackupResponse, Status>> + Send>>;
    type GetHistoryStream = Pin<Box<dyn Stream<Item = Result<GetHistoryResponse, Status>> + Send>>;

    async fn create_backup(
        &self,
        request: Request<CreateBackupRequest>,
    ) -> Result<Response<Self::CreateBackupStream>, Status> {
        let peer = peer(&request);
        let told = self.backups.begin(request.into_inner(), peer);
        let told = told.map_err(|error| error.to_status())?;
        Ok(Response::new(Box::pin(ReceiverStream::new(told))))
    }

    async fn mark_label(
        &self,
        request: Request<MarkLabelRequest>,
    ) -> Result<Response<MarkLabelResponse>, Status> {
        let peer = peer(&request);
        let marked = self.mark(request.into_inner(), peer).await;
        marked.map(Response::new).map_err(|error| error.to_status())
    }

    async fn list_marks(
        &self,
        request: Request<ListMarksRequest>,
    ) -> Result<Response<ListMarksResponse>, Status> {
        let namespace = request.into_inner().namespace;
        let checked = match namespace.is_empty() {
            true => Ok(()),
            false => self.check_namespace(&namespace),
        };
        let marks = checked.and_then(|()| self.store.marks(&namespace));
        Ok(Response::new(ListMarksResponse {
            header: Some(self.store.header()),
            marks: marks.map_err(|error| error.to_status())?,
        }))
    }

    async fn get_history(
        &self,
        request: Request<GetHistoryRequest>,
    ) -> Result<Response<Self::GetHistoryStream>, Status> {
        let told = history::begin(&self.store, request.into_inner());
        let told = told.map_err(|error| error.to_status())?;
        Ok(Response::new(Box::pin(ReceiverStream::new(told))))
    }
}

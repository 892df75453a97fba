//! `BackupService`.

use std::{pin::Pin, sync::Arc};

use stillpoint_proto::v1::{
    CreateBackupRequest, CreateBackupResponse, GetBackupScheduleRequest, GetBackupScheduleResponse,
    GetHistoryRequest, GetHistoryResponse, GetStateHashRequest, GetStateHashResponse,
    ListMarksRequest, ListMarksResponse, Mark, MarkLabelRequest, MarkLabelResponse,
    PullBackupRequest, PullBackupResponse, Reason, RequestContext, ResponseHeader,
    RestoreRecordsRequest, RestoreRecordsResponse, RestoreStoreRequest, RestoreStoreResponse,
    RunScheduledRequest, RunScheduledResponse, StoreError, backup_service_server::BackupService,
};
use tokio::sync::oneshot;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use super::{create, history, pull, restore_records, restore_store, schedule, turn::Backups};
use crate::{service::peer, store::Store};

/// `BackupService` on a store.
#[derive(Debug)]
pub struct BackupApi {
    store: Store,
    backups: Arc<Backups>,
}

impl BackupApi {
    /// The service.
    pub fn new(backups: Arc<Backups>) -> BackupApi {
        let store = backups.store.clone();
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

/// What is told of something that takes its time.
type Told<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

#[tonic::async_trait]
impl BackupService for BackupApi {
    type CreateBackupStream = Told<CreateBackupResponse>;
    type GetHistoryStream = Told<GetHistoryResponse>;
    type PullBackupStream = Told<PullBackupResponse>;
    type RestoreRecordsStream = Told<RestoreRecordsResponse>;
    type RestoreStoreStream = Told<RestoreStoreResponse>;
    type RunScheduledStream = Told<RunScheduledResponse>;

    async fn create_backup(
        &self,
        request: Request<CreateBackupRequest>,
    ) -> Result<Response<Self::CreateBackupStream>, Status> {
        let peer = peer(&request);
        let told = create::begin(&self.backups, request.into_inner(), peer);
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

    async fn pull_backup(
        &self,
        request: Request<PullBackupRequest>,
    ) -> Result<Response<Self::PullBackupStream>, Status> {
        let peer = peer(&request);
        let told = pull::begin(&self.backups, request.into_inner(), peer);
        let told = told.map_err(|error| error.to_status())?;
        Ok(Response::new(Box::pin(ReceiverStream::new(told))))
    }

    async fn get_backup_schedule(
        &self,
        _: Request<GetBackupScheduleRequest>,
    ) -> Result<Response<GetBackupScheduleResponse>, Status> {
        Ok(Response::new(GetBackupScheduleResponse {
            header: Some(self.store.header()),
            status: Some(schedule::status(&self.backups)),
        }))
    }

    async fn run_scheduled(
        &self,
        request: Request<RunScheduledRequest>,
    ) -> Result<Response<Self::RunScheduledStream>, Status> {
        let peer = peer(&request);
        let told = schedule::begin(&self.backups, request.into_inner(), peer);
        let told = told.map_err(|error| error.to_status())?;
        Ok(Response::new(Box::pin(ReceiverStream::new(told))))
    }

    async fn get_state_hash(
        &self,
        request: Request<GetStateHashRequest>,
    ) -> Result<Response<GetStateHashResponse>, Status> {
        let state_hash = schedule::state_hash(&self.store, request.into_inner().seq).await;
        Ok(Response::new(GetStateHashResponse {
            header: Some(self.store.header()),
            state_hash: state_hash.map_err(|error| error.to_status())?,
        }))
    }

    async fn restore_store(
        &self,
        request: Request<RestoreStoreRequest>,
    ) -> Result<Response<Self::RestoreStoreStream>, Status> {
        let peer = peer(&request);
        let told = restore_store::begin(&self.backups, request.into_inner(), peer);
        let told = told.map_err(|error| error.to_status())?;
        Ok(Response::new(Box::pin(ReceiverStream::new(told))))
    }

    async fn restore_records(
        &self,
        request: Request<RestoreRecordsRequest>,
    ) -> Result<Response<Self::RestoreRecordsStream>, Status> {
        let peer = peer(&request);
        let told = restore_records::begin(&self.backups, request.into_inner(), peer);
        let told = told.map_err(|error| error.to_status())?;
        Ok(Response::new(Box::pin(ReceiverStream::new(told))))
    }
}

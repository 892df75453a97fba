//! The operator's port, one blocking call at a time.

mod blocking;
mod messages;
mod migrations;

use std::{future::Future, time::Duration};

use stillpoint_proto::v1::{
    self, Reason, StoreError, admin_service_client::AdminServiceClient,
    backup_service_client::BackupServiceClient, management_service_client::ManagementServiceClient,
    migration_service_client::MigrationServiceClient,
};
use tonic::{Code, Response, Status, transport::Channel};

use self::blocking::Blocking;
pub use self::messages::Messages;
use crate::{endpoint::Endpoint, error};

/// Bytes of one message from the operator's port: a list of sessions, or a summary, has all processes of a large fleet.
const MESSAGE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A connection to the operator's port. Each call blocks for at most the deadline.
#[derive(Debug)]
pub struct AdminClient {
    service: AdminServiceClient<Channel>,
    management: ManagementServiceClient<Channel>,
    backup: BackupServiceClient<Channel>,
    migration: MigrationServiceClient<Channel>,
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
            service: AdminServiceClient::new(channel.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
            management: ManagementServiceClient::new(channel.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
            backup: BackupServiceClient::new(channel.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
            migration: MigrationServiceClient::new(channel)
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
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

    /// Does something with running processes, and tells how it goes, up to the summary. The deadline bounds only how long
    /// the server takes to begin: how long the action takes, the request says.
    pub fn manage(
        &mut self,
        request: v1::ManageRequest,
    ) -> Result<Messages<'_, v1::ManageResponse>, StoreError> {
        let call = self.management.manage(request);
        let messages = finish(&self.runtime, &self.endpoint, self.deadline, call)?;
        Ok(Messages::new(&self.runtime, &self.endpoint, messages))
    }

    /// What was asked of running processes before, newest first.
    pub fn actions(
        &mut self,
        request: v1::ListActionsRequest,
    ) -> Result<v1::ListActionsResponse, StoreError> {
        let call = self.management.list_actions(request);
        finish(&self.runtime, &self.endpoint, self.deadline, call)
    }

    /// Takes a backup, and tells how it goes, up to the end. Dropping the answer early gives the backup up. The deadline bounds
    /// only how long the server takes to begin.
    pub fn create_backup(
        &mut self,
        request: v1::CreateBackupRequest,
    ) -> Result<Messages<'_, v1::CreateBackupResponse>, StoreError> {
        let call = self.backup.create_backup(request);
        let messages = finish(&self.runtime, &self.endpoint, self.deadline, call)?;
        Ok(Messages::new(&self.runtime, &self.endpoint, messages))
    }

    /// The files of a backup, part by part, for a caller who stores them.
    pub fn pull_backup(
        &mut self,
        request: v1::PullBackupRequest,
    ) -> Result<Messages<'_, v1::PullBackupResponse>, StoreError> {
        let call = self.backup.pull_backup(request);
        let messages = finish(&self.runtime, &self.endpoint, self.deadline, call)?;
        Ok(Messages::new(&self.runtime, &self.endpoint, messages))
    }

    /// Does now what is scheduled for later, and tells how it goes.
    pub fn run_scheduled(
        &mut self,
        request: v1::RunScheduledRequest,
    ) -> Result<Messages<'_, v1::RunScheduledResponse>, StoreError> {
        let call = self.backup.run_scheduled(request);
        let messages = finish(&self.runtime, &self.endpoint, self.deadline, call)?;
        Ok(Messages::new(&self.runtime, &self.endpoint, messages))
    }

    /// Brings the whole store back to a moment, and tells how it goes.
    pub fn restore_store(
        &mut self,
        request: v1::RestoreStoreRequest,
    ) -> Result<Messages<'_, v1::RestoreStoreResponse>, StoreError> {
        let call = self.backup.restore_store(request);
        let messages = finish(&self.runtime, &self.endpoint, self.deadline, call)?;
        Ok(Messages::new(&self.runtime, &self.endpoint, messages))
    }

    /// Brings some records back to a moment, and tells how it goes.
    pub fn restore_records(
        &mut self,
        request: v1::RestoreRecordsRequest,
    ) -> Result<Messages<'_, v1::RestoreRecordsResponse>, StoreError> {
        let call = self.backup.restore_records(request);
        let messages = finish(&self.runtime, &self.endpoint, self.deadline, call)?;
        Ok(Messages::new(&self.runtime, &self.endpoint, messages))
    }

    /// What the server does by itself for backups, and what is wrong with it.
    pub fn backup_schedule(&mut self) -> Result<v1::GetBackupScheduleResponse, StoreError> {
        let call = self
            .backup
            .get_backup_schedule(v1::GetBackupScheduleRequest {});
        finish(&self.runtime, &self.endpoint, self.deadline, call)
    }

    /// The state hash of the live store after a commit.
    pub fn state_hash(&mut self, seq: u64) -> Result<v1::GetStateHashResponse, StoreError> {
        let call = self.backup.get_state_hash(v1::GetStateHashRequest { seq });
        finish(&self.runtime, &self.endpoint, self.deadline, call)
    }

    /// Labels this moment.
    pub fn mark_label(
        &mut self,
        request: v1::MarkLabelRequest,
    ) -> Result<v1::MarkLabelResponse, StoreError> {
        let call = self.backup.mark_label(request);
        finish(&self.runtime, &self.endpoint, self.deadline, call)
    }

    /// The labelled moments of a namespace, newest first. An empty one stands for all.
    pub fn marks(&mut self, namespace: &str) -> Result<v1::ListMarksResponse, StoreError> {
        let call = self.backup.list_marks(v1::ListMarksRequest {
            namespace: namespace.into(),
        });
        finish(&self.runtime, &self.endpoint, self.deadline, call)
    }

    /// The commits that wrote a record, newest first, as they are found. The deadline bounds only how long the server takes
    /// to begin: it may have to read all of its log.
    pub fn history(
        &mut self,
        request: v1::GetHistoryRequest,
    ) -> Result<Messages<'_, v1::GetHistoryResponse>, StoreError> {
        let call = self.backup.get_history(request);
        let messages = finish(&self.runtime, &self.endpoint, self.deadline, call)?;
        Ok(Messages::new(&self.runtime, &self.endpoint, messages))
    }
}

/// Why a call was refused. That a message is too large is the transport's word, which says nothing of a remedy.
fn refusal(status: &Status) -> StoreError {
    if status.code() == Code::OutOfRange {
        let message = format!(
            "the request, or its answer, is too large for one message (the server's is limits.message_bytes): {}",
            status.message()
        );
        return StoreError::new(Reason::TooLarge, message);
    }
    StoreError::from_status(status)
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
            Ok(Err(status)) => Err(refusal(&status)),
            Err(_) => {
                let phase = format!("sent to {endpoint}, no answer");
                Err(error::deadline_exceeded(deadline, &phase, false))
            }
        }
    })
}

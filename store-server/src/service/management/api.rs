//! `ManagementService`.

use std::{pin::Pin, sync::Arc};

use futures_util::stream;
use stillpoint_proto::v1::{
    ActionOutcome, ListActionsRequest, ListActionsResponse, ManageRequest, ManageResponse, Phase,
    ProcessState, ProcessUpdate, Reason, RequestContext, StoreError, manage_request::Action,
    management_service_server::ManagementService,
};
use tokio::sync::oneshot;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::{
    action::{Teller, Told},
    audit::{Begin, Journal},
    dispatch::Process,
    fleet,
    request::Order,
    restart, selection, simple,
};
use crate::service::{peer, session::hub::Hub};

/// `ManagementService` on a hub.
#[derive(Clone, Debug)]
pub struct ManagementApi {
    hub: Arc<Hub>,
    journal: Arc<Journal>,
}

/// What is said when nobody is asked.
const NOBODY: &str = "no process fulfils the selection";

impl ManagementApi {
    /// The service of a hub, with a journal of the same store.
    pub fn new(hub: Arc<Hub>, journal: Arc<Journal>) -> ManagementApi {
        ManagementApi { hub, journal }
    }

    /// Begins an action; gives what it tells.
    async fn begin(&self, request: ManageRequest, peer: String) -> Result<Told, StoreError> {
        let order = Order::new(self.hub.store(), request)?;
        let processes = selection::select(&self.hub, &order.selection)?;
        if order.dry_run {
            return Ok(self.rehearse(&order, &processes).await);
        }
        let namespace = &order.selection.namespace;
        if self.hub.store().reader().revision(namespace) == 0 {
            let message = format!(
                "no process fulfils the selection: nothing was ever written in namespace {namespace}; is that its name?"
            );
            return Ok(self.tell_of_nobody(&message).await);
        }
        let (begun, told) = oneshot::channel();
        // A task of its own: once written down, an action has an end, whether the caller stays or not.
        tokio::spawn(self.clone().perform(order, processes, peer, begun));
        told.await.unwrap_or_else(|_| {
            let message = "the action could not be begun: the server stops";
            Err(StoreError::new(Reason::Unavailable, message))
        })
    }

    /// Tells that there is nobody. It is not written down, as that would make the namespace.
    async fn tell_of_nobody(&self, message: &str) -> Told {
        let (teller, told) = Teller::begin(self.hub.store().header(), "", &[], None);
        teller.finish(ActionOutcome::Nobody, message).await;
        told
    }

    /// Tells which processes it would be.
    async fn rehearse(&self, order: &Order, processes: &[Process]) -> Told {
        let header = self.hub.store().header();
        let (mut teller, told) = Teller::begin(header, "", processes, None);
        if processes.is_empty() {
            teller.finish(ActionOutcome::Nobody, NOBODY).await;
            return told;
        }
        for process in processes {
            teller.expect(process);
        }
        let message = format!(
            "a rehearsal: `{}` would be asked of {}",
            order.describe(),
            count(processes.len())
        );
        teller.finish(ActionOutcome::Ok, &message).await;
        told
    }

    async fn perform(
        self,
        order: Order,
        processes: Vec<Process>,
        peer: String,
        begun: oneshot::Sender<Result<Told, StoreError>>,
    ) {
        let written = self.journal.begin(Begin {
            actor: order.actor.clone(),
            peer: peer.clone(),
            action: order.describe(),
            selection: order.selection.clone(),
            processes: expected(&processes),
            subject: String::new(),
            exclusive: order.is_exclusive(),
        });
        let record = match written.await {
            Ok(record) => record,
            Err(error) => return drop(begun.send(Err(error))),
        };
        tracing::info!(
            action = order.describe(),
            id = record.id(),
            actor = order.actor,
            peer,
            processes = processes.len(),
            "an operator's action begins"
        );
        let id = record.id().to_owned();
        let (teller, told) =
            Teller::begin(self.hub.store().header(), &id, &processes, Some(record));
        // Who has left meanwhile is not heard of any more by the teller.
        drop(begun.send(Ok(told)));
        if processes.is_empty() {
            return teller.finish(ActionOutcome::Nobody, NOBODY).await;
        }
        let mut options = order.options;
        if options.actor.is_empty() {
            options.actor = peer;
        }
        let hub = self.hub;
        match order.action {
            Action::Command(command) => {
                simple::command(hub, command, processes, options, teller).await;
            }
            Action::Notice(notice) => {
                simple::notice(hub, notice, processes, options, teller).await;
            }
            Action::Drain(_) => simple::drain(hub, processes, options, teller).await,
            Action::Evict(evict) => simple::evict(hub, evict, processes, options, teller).await,
            Action::Reload(reload) => {
                let selection = order.selection;
                fleet::reload(hub, &id, reload, selection, processes, options, teller).await;
            }
            Action::Restart(restart) => {
                restart::restart(hub, restart, processes, options, teller).await;
            }
        }
    }
}

fn expected(processes: &[Process]) -> Vec<ProcessUpdate> {
    let updates = processes.iter().map(|process| ProcessUpdate {
        process: Some(process.to_ref()),
        phase: Phase::Unspecified.into(),
        state: ProcessState::Expected.into(),
        ..ProcessUpdate::default()
    });
    updates.collect()
}

/// So many processes, in words.
fn count(processes: usize) -> String {
    match processes {
        1 => "1 process".into(),
        n => format!("{n} processes"),
    }
}

#[tonic::async_trait]
impl ManagementService for ManagementApi {
    type ManageStream = Pin<Box<dyn Stream<Item = Result<ManageResponse, Status>> + Send>>;

    async fn manage(
        &self,
        request: Request<ManageRequest>,
    ) -> Result<Response<Self::ManageStream>, Status> {
        let peer = peer(&request);
        let begun = self.begin(request.into_inner(), peer).await;
        let told = begun.map_err(|error| error.to_status())?;
        let messages = stream::unfold(told, |mut told| async {
            Some((Ok(told.next().await?), told))
        });
        Ok(Response::new(Box::pin(messages)))
    }

    async fn list_actions(
        &self,
        request: Request<ListActionsRequest>,
    ) -> Result<Response<ListActionsResponse>, Status> {
        let request = request.into_inner();
        let store = self.hub.store();
        let context = RequestContext {
            namespace: request.namespace.clone(),
            ..RequestContext::default()
        };
        let listed = store.check_context(&context);
        let listed = listed.and_then(|()| self.journal.list(&request));
        Ok(Response::new(ListActionsResponse {
            header: Some(store.header()),
            actions: listed.map_err(|error| error.to_status())?,
        }))
    }
}

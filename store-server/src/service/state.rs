//! `StateService`: the unary calls and Scan. All of them become one [`Op`], the same as an item of a Pipeline.

use std::{pin::Pin, sync::Arc};

use futures_util::stream;
use stillpoint_proto::v1::{
    BatchGetRequest, BatchGetResponse, DeleteRequest, DeleteResponse, Durability, GetRequest,
    GetResponse, ListCollectionsRequest, ListCollectionsResponse, Op, OpResult, PatchRequest,
    PatchResponse, PipelineRequest, PipelineResponse, PutRequest, PutResponse, Reason,
    RequestContext, ResponseHeader, ScanOp, ScanRequest, ScanResponse, StoreError, TxnRequest,
    TxnResponse, op, op_result, state_service_server::StateService,
};
use tokio::sync::{oneshot, watch};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::{Gauges, history::Histories, pipeline::Pipeline, session::hub::Hub};
use crate::store::{
    Store,
    request::{Answers, Job, WriteItem, WriterKey},
};

/// `StateService` on a store.
#[derive(Clone, Debug)]
pub struct StateApi {
    /// The store.
    pub store: Store,
    /// Becomes true when the server stops.
    pub stopping: watch::Receiver<bool>,
    /// What is going on.
    pub gauges: Arc<Gauges>,
    /// Who is there.
    pub hub: Arc<Hub>,
    /// Reads histories.
    pub histories: Arc<Histories>,
}

impl StateApi {
    /// Does one operation.
    async fn one(
        &self,
        context: Option<RequestContext>,
        kind: Option<op::Kind>,
    ) -> Result<(ResponseHeader, op_result::Kind), Status> {
        let context = context.unwrap_or_default();
        let op = Op { kind };
        let prepared = self
            .store
            .check_context(&context)
            .and_then(|()| self.store.check(&context.namespace, &op))
            .and_then(|()| {
                context
                    .once
                    .as_ref()
                    .map_or(Ok(()), |once| self.store.check_once(once))
            });
        prepared.map_err(|e| e.to_status())?;
        let (result, revision) = match self.read(&context, &op) {
            Some(answered) => answered,
            None => self.write(&context, op).await?,
        };
        let header = ResponseHeader {
            revision,
            ..self.store.header()
        };
        match result.kind {
            Some(op_result::Kind::Error(error)) => Err(error.to_status()),
            Some(kind) => Ok((header, kind)),
            None => Err(empty()),
        }
    }

    fn read(&self, context: &RequestContext, op: &Op) -> Option<(OpResult, u64)> {
        let mut reader = self.store.reader();
        let lens = (self.store).lens_at(&context.namespace, &context.session_id, context.fence);
        let found = reader.read(&context.namespace, op, lens.as_ref())?;
        let revision = reader.revision(&context.namespace);
        // Scripts hold no commits up.
        drop(reader);
        let result = match lens {
            None => found.as_stored(),
            Some(lens) => {
                let mut answers = self
                    .store
                    .answer(&context.namespace, &lens, vec![(op, found)]);
                answers.pop()
            }
        };
        Some((result?, revision))
    }

    async fn write(&self, context: &RequestContext, op: Op) -> Result<(OpResult, u64), Status> {
        let (sender, receiver) = oneshot::channel::<Answers>();
        self.store.submit(Job {
            namespace: context.namespace.as_str().into(),
            session: context.session_id.as_str().into(),
            fence: context.fence,
            items: vec![WriteItem {
                op,
                writer: WriterKey::from_context(context),
                once: context.once.clone(),
                durability: Durability::try_from(context.durability).unwrap_or_default(),
                deadline: None,
            }],
            // A caller that has gone away wants no answer.
            reply: Box::new(move |answers| drop(sender.send(answers))),
        });
        let Answers {
            mut results,
            revision,
        } = receiver.await.map_err(|_| stopping())?;
        Ok((results.pop().ok_or_else(empty)?, revision))
    }
}

/// The error of a write whose answer will not come.
fn stopping() -> Status {
    let mut error = StoreError::new(Reason::Unavailable, "the server stopped before it answered");
    error.maybe_applied = true;
    error.to_status()
}

fn empty() -> Status {
    StoreError::new(
        Reason::Internal,
        "the answer is of another kind than the request",
    )
    .to_status()
}

/// The service: unary calls, each an operation in and its kind of result out, and the rest as it stands.
macro_rules! state_service {
    ([$($name:ident, $kind:ident, $request:ident, $response:ident;)*] $($rest:tt)*) => {
        #[tonic::async_trait]
        impl StateService for StateApi {
            $(async fn $name(&self, request: Request<$request>) -> Result<Response<$response>, Status> {
                let $request { context, op } = request.into_inner();
                match self.one(context, op.map(op::Kind::$kind)).await? {
                    (header, op_result::Kind::$kind(result)) => {
                        Ok(Response::new($response { header: Some(header), result: Some(result) }))
                    }
                    _ => Err(empty()),
                }
            })*
            $($rest)*
        }
    };
}

state_service! {
    [
        get, Get, GetRequest, GetResponse;
        batch_get, BatchGet, BatchGetRequest, BatchGetResponse;
        put, Put, PutRequest, PutResponse;
        patch, Patch, PatchRequest, PatchResponse;
        delete, Delete, DeleteRequest, DeleteResponse;
        txn, Txn, TxnRequest, TxnResponse;
        list_collections, ListCollections, ListCollectionsRequest, ListCollectionsResponse;
    ]

    type ScanStream = Pin<Box<dyn Stream<Item = Result<ScanResponse, Status>> + Send>>;

    async fn scan(&self, request: Request<ScanRequest>) -> Result<Response<Self::ScanStream>, Status> {
        let ScanRequest { context, op } = request.into_inner();
        let context = context.unwrap_or_default();
        let scan = op.unwrap_or_default();
        let pages = Pages { api: self.clone(), context, left: scan.limit, next: Some(scan) };
        Ok(Response::new(Box::pin(stream::unfold(pages, |mut pages| async { Some((pages.next().await?, pages)) }))))
    }

    type PipelineStream = Pin<Box<dyn Stream<Item = Result<PipelineResponse, Status>> + Send>>;

    async fn pipeline(
        &self,
        request: Request<Streaming<PipelineRequest>>,
    ) -> Result<Response<Self::PipelineStream>, Status> {
        let pipeline = Pipeline::new(self, request.into_inner());
        Ok(Response::new(Box::pin(stream::unfold(pipeline, |mut p| async { Some((p.next_frame().await?, p)) }))))
    }
}

/// A scan that goes on page by page.
struct Pages {
    api: StateApi,
    context: RequestContext,
    /// Records left of the whole scan's limit; 0: no limit.
    left: u32,
    next: Option<ScanOp>,
}

impl Pages {
    async fn next(&mut self) -> Option<Result<ScanResponse, Status>> {
        let scan = self.next.take()?;
        let reverse = scan.reverse;
        let answered = self
            .api
            .one(
                Some(self.context.clone()),
                Some(op::Kind::Scan(scan.clone())),
            )
            .await;
        let (header, result) = match answered {
            Ok((header, op_result::Kind::Scan(result))) => (header, result),
            Ok(_) => return Some(Err(empty())),
            Err(status) => return Some(Err(status)),
        };
        let given = result.entries.len() as u32;
        let limited = self.left > 0;
        self.left = self.left.saturating_sub(given);
        if result.more && (!limited || self.left > 0) {
            let mut following = ScanOp {
                limit: self.left,
                ..scan
            };
            *(if reverse {
                &mut following.end
            } else {
                &mut following.start
            }) = result.next_key.clone();
            self.next = Some(following);
        }
        Some(Ok(ScanResponse {
            header: Some(header),
            result: Some(result),
        }))
    }
}

//! One at the other end: opens sessions, attaches to them, and sends operations.

use std::sync::atomic::{AtomicU64, Ordering};

use stillpoint_proto::v1::{
    AttachRequest, AttachResponse, ClaimOp, ClaimResult, CloseSessionRequest, Op,
    OpenSessionRequest, OpenSessionResponse, PipelineItem, PipelineOpen, PipelineRequest,
    PipelineResponse, PutOp, Reason, RecordKey, ReleaseOp, RequestContext, StoreError,
    attach_response::Kind as Told, op::Kind, op_result,
    session_service_client::SessionServiceClient, state_service_client::StateServiceClient,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

use crate::server::{Server, soon};

/// The namespace of all tests.
pub const NAMESPACE: &str = "world";

/// A process with a connection of its own.
pub struct Peer {
    channel: Channel,
}

/// An open Attach stream.
pub struct Attached {
    to: mpsc::Sender<AttachRequest>,
    from: Streaming<AttachResponse>,
}

/// An open Pipeline.
pub struct Pipe {
    to: mpsc::Sender<PipelineRequest>,
    from: Streaming<PipelineResponse>,
    next_id: AtomicU64,
}

/// What an open asks for.
pub fn wish(instance: &str) -> OpenSessionRequest {
    OpenSessionRequest {
        context: Some(context("", 0)),
        service: "battle".into(),
        instance: instance.into(),
        client_name: format!("client of {instance}"),
        ..OpenSessionRequest::default()
    }
}

/// A request's context.
pub fn context(session: &str, fence: u64) -> RequestContext {
    RequestContext {
        namespace: NAMESPACE.into(),
        session_id: session.into(),
        fence,
        ..RequestContext::default()
    }
}

/// A context of a session's holder.
pub fn of(session: &OpenSessionResponse) -> RequestContext {
    context(&session.session_id, session.fence)
}

impl Peer {
    /// Connects to a server.
    pub async fn connect(server: &Server) -> Peer {
        Peer {
            channel: server.channel("stillpoint.sock").await,
        }
    }

    /// Opens a session.
    pub async fn open(&self, wish: OpenSessionRequest) -> Result<OpenSessionResponse, StoreError> {
        let mut client = SessionServiceClient::new(self.channel.clone());
        let answered = soon("the answer to an open", client.open_session(wish)).await;
        answered
            .map(|answer| answer.into_inner())
            .map_err(|status| StoreError::from_status(&status))
    }

    /// Attaches to a session.
    pub async fn attach(&self, session: &OpenSessionResponse) -> Result<Attached, StoreError> {
        let (to, requests) = mpsc::channel(16);
        let first = AttachRequest {
            context: Some(of(session)),
            ..AttachRequest::default()
        };
        to.send(first).await.expect("there is room");
        let mut client = SessionServiceClient::new(self.channel.clone());
        let attach = client.attach(ReceiverStream::new(requests));
        let from = soon("the answer to an attach", attach).await;
        let from = from.map_err(|status| StoreError::from_status(&status))?;
        let mut attached = Attached {
            to,
            from: from.into_inner(),
        };
        match attached.told().await {
            Some(Told::Attached(_)) => Ok(attached),
            other => panic!("told {other:?} first"),
        }
    }

    /// Opens a session and attaches to it.
    pub async fn join(&self, wish: OpenSessionRequest) -> (OpenSessionResponse, Attached) {
        let session = self.open(wish).await.expect("nobody holds it");
        let attached = self.attach(&session).await.expect("it is ours");
        (session, attached)
    }

    /// Closes a session.
    pub async fn close(
        &self,
        session: &OpenSessionResponse,
        keep_claims: bool,
        linger_ms: u64,
    ) -> Result<(), StoreError> {
        let mut client = SessionServiceClient::new(self.channel.clone());
        let request = CloseSessionRequest {
            context: Some(of(session)),
            keep_claims,
            linger_ms,
        };
        let answered = soon("the answer to a close", client.close_session(request)).await;
        answered
            .map(drop)
            .map_err(|status| StoreError::from_status(&status))
    }

    /// Opens a Pipeline for a session's holder, or for nobody.
    pub async fn pipe(&self, context: RequestContext) -> Pipe {
        let (to, frames) = mpsc::channel(16);
        let open = PipelineOpen {
            context: Some(context),
            client_name: "test".into(),
        };
        let first = PipelineRequest {
            open: Some(open),
            items: Vec::new(),
        };
        to.send(first).await.expect("there is room");
        let mut client = StateServiceClient::new(self.channel.clone());
        let opened = client.pipeline(ReceiverStream::new(frames));
        let from = soon("a pipeline", opened).await.expect("it opens");
        Pipe {
            to,
            from: from.into_inner(),
            next_id: AtomicU64::new(1),
        }
    }

    /// Does one operation for a session's holder.
    pub async fn write(
        &self,
        session: &OpenSessionResponse,
        op: Op,
    ) -> Result<op_result::Kind, StoreError> {
        let mut pipe = self.pipe(of(session)).await;
        pipe.call(op).await
    }
}

impl Attached {
    /// The next message; `None` at the end.
    pub async fn told(&mut self) -> Option<Told> {
        let message = soon("a message", self.from.message()).await;
        message
            .ok()?
            .map(|message| message.kind.expect("a message has a kind"))
    }

    /// Sends a heartbeat.
    pub async fn beat(&self, beat: AttachRequest) {
        self.to.send(beat).await.expect("the stream is open");
    }

    /// Waits until the session is over for this holder; gives the fence of the next, and that nothing comes after it.
    pub async fn fenced(&mut self) -> u64 {
        loop {
            match self.told().await {
                Some(Told::Fenced(fenced)) => {
                    assert!(self.told().await.is_none(), "it is the last message");
                    return fenced.fence;
                }
                Some(_) => {}
                None => panic!("the stream ended without a word"),
            }
        }
    }
}

impl Pipe {
    /// Sends operations in one frame, all in this lane; gives the id of the first.
    pub async fn send(&self, lane: u64, ops: impl IntoIterator<Item = Op>) -> u64 {
        let items: Vec<_> = ops
            .into_iter()
            .map(|op| PipelineItem {
                id: self.next_id.fetch_add(1, Ordering::Relaxed),
                lane,
                op: Some(op),
                ..PipelineItem::default()
            })
            .collect();
        let first = items[0].id;
        let frame = PipelineRequest { open: None, items };
        self.to.send(frame).await.expect("the pipeline is open");
        first
    }

    /// The next answers, each with its id; at least one.
    pub async fn answers(&mut self) -> Vec<(u64, Result<op_result::Kind, StoreError>)> {
        loop {
            let frame = soon("an answer", self.from.message()).await;
            let frame = frame.expect("the pipeline works").expect("it goes on");
            let results = frame.results.into_iter().map(|answer| {
                let kind = answer.result.and_then(|result| result.kind);
                let result = match kind.expect("an answer has a kind") {
                    op_result::Kind::Error(error) => Err(error),
                    kind => Ok(kind),
                };
                (answer.id, result)
            });
            let results: Vec<_> = results.collect();
            if !results.is_empty() {
                return results;
            }
        }
    }

    /// Does one operation.
    pub async fn call(&mut self, op: Op) -> Result<op_result::Kind, StoreError> {
        self.send(0, [op]).await;
        self.answer().await
    }

    /// The answer to the one operation that is under way.
    pub async fn answer(&mut self) -> Result<op_result::Kind, StoreError> {
        let mut answers = self.answers().await;
        assert_eq!(answers.len(), 1, "one was under way");
        answers.remove(0).1
    }

    /// Claims a record, which must be granted; gives the token.
    pub async fn claim(&mut self, name: &str) -> u64 {
        token(self.call(claim(name, 0, false)).await)
    }
}

/// The token of a claim that was granted.
#[track_caller]
pub fn token(answer: Result<op_result::Kind, StoreError>) -> u64 {
    match answer {
        Ok(op_result::Kind::Claim(ClaimResult { token, .. })) => token,
        other => panic!("not granted: {other:?}"),
    }
}

/// Checks why something was refused.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(answer: Result<T, StoreError>, reason: Reason) -> StoreError {
    let error = answer.expect_err("it is refused");
    assert_eq!(error.reason(), reason, "{error}");
    error
}

/// A record's name.
pub fn key(name: &str) -> RecordKey {
    RecordKey {
        collection: "doc".into(),
        key: name.to_owned().into(),
    }
}

/// An operation.
pub fn op(kind: Kind) -> Op {
    Op { kind: Some(kind) }
}

/// Claims a record.
pub fn claim(name: &str, wait_ms: u32, steal: bool) -> Op {
    op(Kind::Claim(ClaimOp {
        key: Some(key(name)),
        wait_ms,
        steal,
        load: false,
    }))
}

/// Releases a record.
pub fn release(name: &str) -> Op {
    op(Kind::Release(ReleaseOp {
        key: Some(key(name)),
    }))
}

/// Writes a record.
pub fn put(name: &str) -> Op {
    op(Kind::Put(PutOp {
        key: Some(key(name)),
        value: vec![0x01].into(),
        ..PutOp::default()
    }))
}

//! Sessions, as far as a client can tell them from the real ones.

use std::{collections::HashMap, pin::Pin, time::Duration};

use stillpoint_client::v1;
use stillpoint_proto::v1::{
    attach_response::Kind, session_service_server::SessionService as Contract,
};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use super::{Store, watched::Watched};

type Notices = mpsc::Sender<Result<v1::AttachResponse, Status>>;

/// What the service was asked, and how it is to answer.
#[derive(Default)]
pub struct Sessions(Watched<State>);

#[derive(Default)]
struct State {
    /// By (service, instance).
    open: HashMap<(String, String), Session>,
    fence: u64,
    opened: Vec<v1::OpenSessionRequest>,
    /// The first message of each control stream.
    attached: Vec<v1::AttachRequest>,
    /// All that came after it.
    beats: Vec<v1::AttachRequest>,
    /// With the store's revision then.
    closed: Vec<(v1::CloseSessionRequest, u64)>,
    /// To the holder that attached last.
    notices: Option<Notices>,
    /// Answers of CloseSession that get lost, after it was done.
    closings_lost: usize,
    /// Answers of OpenSession that get lost, before it was done.
    openings_lost: usize,
    /// Greatest version of a schema that is there; none unless set: sessions that declare a version are refused.
    schema_max: u32,
    /// Milliseconds; 10 unless set.
    heartbeat_ms: Option<u64>,
}

#[derive(Clone, Default)]
struct Session {
    fence: u64,
    holder: String,
    is_held: bool,
}

impl Sessions {
    pub fn opened(&self) -> Vec<v1::OpenSessionRequest> {
        self.0.with(|state| state.opened.clone())
    }

    /// What was asked to be closed, and the store's revision at each.
    pub fn closed(&self) -> Vec<(v1::CloseSessionRequest, u64)> {
        self.0.with(|state| state.closed.clone())
    }

    /// Waits until a session was attached so many times in all, and returns the first messages.
    pub fn await_attached(&self, count: usize) -> Vec<v1::AttachRequest> {
        self.0.wait("an attach", |state| {
            (state.attached.len() >= count).then(|| state.attached.clone())
        })
    }

    /// Waits until there was a heartbeat like this.
    pub fn await_beat(&self, is_it: impl Fn(&v1::AttachRequest) -> bool) -> v1::AttachRequest {
        self.0.wait("the heartbeat", |state| {
            state.beats.iter().find(|beat| is_it(beat)).cloned()
        })
    }

    /// Waits for so many heartbeats more.
    pub fn await_beats(&self, count: usize) {
        let before = self.0.with(|state| state.beats.len());
        self.0.wait("the heartbeats", |state| {
            (state.beats.len() >= before + count).then_some(())
        });
    }

    /// Tells the holder something.
    pub fn notify(&self, kind: Kind) {
        let notices = self.0.with(|state| state.notices.clone());
        let notice = v1::AttachResponse {
            header: None,
            kind: Some(kind),
        };
        notices.unwrap().blocking_send(Ok(notice)).unwrap();
    }

    /// Ends the holder's control stream.
    pub fn cut(&self) {
        self.0.with(|state| state.notices = None);
    }

    /// Makes another process the holder of all sessions.
    pub fn succeed(&self) {
        self.0.with(|state| {
            for session in state.open.values_mut() {
                session.fence += 1;
                session.holder = "another".into();
            }
        });
    }

    /// Sets how often heartbeats are to come, for the sessions to come.
    pub fn beat_every(&self, every: Duration) {
        self.0
            .with(|state| state.heartbeat_ms = Some(every.as_millis() as u64));
    }

    /// Waits for so many answers to commands, in all.
    pub fn await_answers(&self, count: usize) -> Vec<v1::CommandAnswer> {
        self.0.wait("the answers", |state| {
            let answers: Vec<_> = state
                .beats
                .iter()
                .filter_map(|b| b.answer.clone())
                .collect();
            (answers.len() >= count).then_some(answers)
        })
    }

    pub fn lose_openings(&self, count: usize) {
        self.0.with(|state| state.openings_lost = count);
    }

    /// Takes all collections to a version.
    pub fn migrate_to(&self, version: u32) {
        self.0.with(|state| state.schema_max = version);
    }

    pub fn lose_closings(&self, count: usize) {
        self.0.with(|state| state.closings_lost = count);
    }
}

pub struct Service(pub std::sync::Arc<Store>);

impl Service {
    fn sessions(&self) -> &Watched<State> {
        &self.0.sessions.0
    }
}

#[tonic::async_trait]
impl Contract for Service {
    async fn open_session(
        &self,
        request: Request<v1::OpenSessionRequest>,
    ) -> Result<Response<v1::OpenSessionResponse>, Status> {
        let request = request.into_inner();
        let header = self.0.header();
        self.sessions().with(|state| {
            state.opened.push(request.clone());
            if state.openings_lost > 0 {
                state.openings_lost -= 1;
                return Err(Status::unavailable("broken on purpose"));
            }
            let is_behind = |(_, version): &(&String, &u32)| **version > state.schema_max;
            if let Some((collection, version)) = request.schemas.iter().find(is_behind) {
                return Err(v1::StoreError::new(
                    v1::Reason::SchemaUnsupported,
                    format!(
                        "{collection} has no version {version}: run `stillpoint migrate apply`"
                    ),
                )
                .to_status());
            }
            let identity = (request.service.clone(), request.instance.clone());
            let before = state.open.get(&identity);
            if let Some(before) = before
                && before.is_held
                && !request.takeover
            {
                return Err(v1::StoreError {
                    holder: before.holder.clone(),
                    ..v1::StoreError::new(
                        v1::Reason::NotOwner,
                        format!("the session is held by {}", before.holder),
                    )
                }
                .to_status());
            }
            let succeeded = before.is_some();
            state.fence += 10;
            let session = Session {
                fence: state.fence,
                holder: request.client_name,
                is_held: true,
            };
            state.open.insert(identity, session);
            Ok(Response::new(v1::OpenSessionResponse {
                header: Some(header),
                session_id: format!("{}/{}/1", request.service, request.instance),
                fence: state.fence,
                resume_token: bytes::Bytes::from_static(b"token"),
                ttl_ms: 10_000,
                heartbeat_ms: state.heartbeat_ms.unwrap_or(10),
                succeeded,
                claims: 3,
                gap_ms: if succeeded { 40 } else { 0 },
            }))
        })
    }

    type AttachStream = Pin<Box<dyn Stream<Item = Result<v1::AttachResponse, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let mut requests = request.into_inner();
        let first = requests.next().await.unwrap()?;
        let context = first.context.clone().expect("the first message says who");
        let (notices, responses) = mpsc::channel(4);
        let is_holder = self.sessions().with(|state| {
            state.attached.push(first);
            let is_holder = |session: &Session| session.fence == context.fence;
            let is_holder = state.open.values().any(is_holder);
            if is_holder {
                state.notices = Some(notices.clone());
            }
            is_holder
        });
        if !is_holder {
            return Err(
                v1::StoreError::new(v1::Reason::Fenced, "the session has a successor").to_status(),
            );
        }
        let attached = v1::AttachResponse {
            header: Some(self.0.header()),
            kind: Some(Kind::Attached(v1::Attached { claims: 7 })),
        };
        notices.try_send(Ok(attached)).unwrap();
        let store = self.0.clone();
        tokio::spawn(async move {
            while let Some(Ok(beat)) = requests.next().await {
                assert!(beat.context.is_none(), "said twice who it is");
                store.sessions.0.with(|state| state.beats.push(beat));
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(responses))))
    }

    async fn close_session(
        &self,
        request: Request<v1::CloseSessionRequest>,
    ) -> Result<Response<v1::CloseSessionResponse>, Status> {
        let request = request.into_inner();
        let header = self.0.header();
        self.sessions().with(|state| {
            let context = request.context.clone().unwrap();
            state.closed.push((request, header.revision));
            state
                .open
                .retain(|_, session| session.fence != context.fence);
            if state.closings_lost > 0 {
                state.closings_lost -= 1;
                return Err(Status::unavailable("broken on purpose"));
            }
            Ok(Response::new(v1::CloseSessionResponse {
                header: Some(header),
            }))
        })
    }
}

//! A logic process as the server sees it: it holds a session, hears what it is told, and answers what it is asked.

use bytes::Bytes;
use stillpoint_proto::v1::{
    AttachRequest, AttachResponse, CloseSessionRequest, Command, CommandAnswer, CommandError,
    Delivered, OpenSessionRequest, OpenSessionResponse, OperatorNotice, RequestContext,
    attach_response::Kind as Told, command_answer::Kind as Answer,
    session_service_client::SessionServiceClient,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

use crate::server::{Server, soon};

/// The namespace of all tests.
pub const NAMESPACE: &str = "world";

/// A process that holds a session.
pub struct Process {
    channel: Channel,
    /// Its session.
    pub session: OpenSessionResponse,
    to: mpsc::Sender<AttachRequest>,
    from: Streaming<AttachResponse>,
}

/// What a session is opened with.
pub fn wish(service: &str, instance: &str) -> OpenSessionRequest {
    OpenSessionRequest {
        context: Some(RequestContext {
            namespace: NAMESPACE.into(),
            ..RequestContext::default()
        }),
        service: service.into(),
        instance: instance.into(),
        client_name: format!("client of {instance}"),
        code_version: "v1".into(),
        ..OpenSessionRequest::default()
    }
}

impl Process {
    /// Starts `battle/instance`.
    pub async fn start(server: &Server, instance: &str) -> Process {
        Process::start_as(server, wish("battle", instance)).await
    }

    /// Starts one with a session like that.
    pub async fn start_as(server: &Server, wish: OpenSessionRequest) -> Process {
        let channel = server.channel("stillpoint.sock").await;
        let mut client = SessionServiceClient::new(channel.clone());
        let opened = soon("the answer to an open", client.open_session(wish)).await;
        let session = opened.expect("nobody holds it").into_inner();
        let (to, from) = attach(&channel, &session).await;
        Process {
            channel,
            session,
            to,
            from,
        }
    }

    /// Loses its Attach stream, and attaches again.
    pub async fn reattach(&mut self) {
        (self.to, self.from) = attach(&self.channel, &self.session).await;
    }

    /// The next message; `None` at the end.
    pub async fn told(&mut self) -> Option<Told> {
        let message = soon("a message", self.from.message()).await;
        message
            .ok()?
            .map(|message| message.kind.expect("a message has a kind"))
    }

    /// The command that it is told next.
    pub async fn command(&mut self) -> Command {
        match self.told().await {
            Some(Told::Command(command)) => command,
            other => panic!("told {other:?} instead of a command"),
        }
    }

    /// The notice that it is told next.
    pub async fn notice(&mut self) -> OperatorNotice {
        match self.told().await {
            Some(Told::Notice(notice)) => notice,
            other => panic!("told {other:?} instead of a notice"),
        }
    }

    /// Says something about a command.
    pub async fn answer(&self, command: &Command, kind: Answer) {
        let answer = CommandAnswer {
            command_id: command.command_id,
            kind: Some(kind),
        };
        let message = AttachRequest {
            answer: Some(answer),
            ..AttachRequest::default()
        };
        self.to.send(message).await.expect("the stream is open");
    }

    /// Takes a command and answers it with a value.
    pub async fn obey(&mut self, value: &'static [u8]) -> Command {
        let command = self.command().await;
        self.answer(&command, done(value)).await;
        command
    }

    /// Closes its session, or leaves it to a successor.
    pub async fn close(&self, keep_claims: bool) {
        let mut client = SessionServiceClient::new(self.channel.clone());
        let request = CloseSessionRequest {
            context: Some(context(&self.session)),
            keep_claims,
            linger_ms: 0,
        };
        let closed = soon("the answer to a close", client.close_session(request)).await;
        closed.expect("it is its own");
    }
}

async fn attach(
    channel: &Channel,
    session: &OpenSessionResponse,
) -> (mpsc::Sender<AttachRequest>, Streaming<AttachResponse>) {
    let (to, requests) = mpsc::channel(16);
    let first = AttachRequest {
        context: Some(context(session)),
        ..AttachRequest::default()
    };
    to.send(first).await.expect("there is room");
    let mut client = SessionServiceClient::new(channel.clone());
    let attached = client.attach(ReceiverStream::new(requests));
    let attached = soon("the answer to an attach", attached).await;
    let mut from = attached.expect("the session is ours").into_inner();
    let first = soon("the first message", from.message()).await;
    let first = first.expect("it goes on").expect("a message").kind;
    assert!(matches!(first, Some(Told::Attached(_))), "{first:?}");
    (to, from)
}

fn context(session: &OpenSessionResponse) -> RequestContext {
    RequestContext {
        namespace: NAMESPACE.into(),
        session_id: session.session_id.clone(),
        fence: session.fence,
        ..RequestContext::default()
    }
}

/// It has the command.
pub fn delivered() -> Answer {
    Answer::Delivered(Delivered {})
}

/// It is so far.
pub fn progress(text: &str) -> Answer {
    Answer::Progress(text.into())
}

/// It is done.
pub fn done(value: &'static [u8]) -> Answer {
    Answer::Value(Bytes::from_static(value))
}

/// It failed.
pub fn failed(message: &str, traceback: &str) -> Answer {
    Answer::Error(CommandError {
        message: message.into(),
        traceback: traceback.into(),
        unknown: false,
    })
}

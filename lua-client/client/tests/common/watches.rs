//! Watches whose other end is the test itself.

use std::{collections::VecDeque, pin::Pin, sync::Arc};

use stillpoint_client::v1;
use stillpoint_proto::v1::{watch_response::Kind, watch_service_server::WatchService as Contract};
use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use super::{Store, watched::Watched};

/// A stream that a client has opened. Dropping it ends the stream.
pub struct Peer {
    pub request: v1::WatchRequest,
    messages: mpsc::Sender<Result<v1::WatchResponse, Status>>,
}

impl Peer {
    /// Sends a message; false if the stream is gone.
    pub fn send(&self, message: v1::WatchResponse) -> bool {
        self.messages.blocking_send(Ok(message)).is_ok()
    }

    /// Ends the stream with this.
    pub fn fail(self, status: Status) {
        let _ = self.messages.blocking_send(Err(status));
    }

    /// Waits until the client is gone from the stream.
    pub fn await_gone(&self) {
        let gone = async { tokio::time::timeout(super::LONG, self.messages.closed()).await };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(gone).expect("the stream never ended");
    }
}

/// The streams that no test has asked for yet.
#[derive(Default)]
pub struct Watches(Watched<VecDeque<Peer>>);

impl Watches {
    /// Waits for the next stream that a client opens.
    pub fn next(&self) -> Peer {
        self.0.wait("a watch", VecDeque::pop_front)
    }
}

pub struct Service(pub Arc<Store>);

#[tonic::async_trait]
impl Contract for Service {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        if request.collection == "forbidden" {
            return Err(v1::StoreError::new(v1::Reason::Invalid, "no such collection").to_status());
        }
        let (messages, responses) = mpsc::channel(1);
        let peer = Peer { request, messages };
        self.0.watches.0.with(|peers| peers.push_back(peer));
        Ok(Response::new(Box::pin(ReceiverStream::new(responses))))
    }
}

fn message(position: &str, kind: Kind) -> v1::WatchResponse {
    v1::WatchResponse {
        position: position.to_string().into(),
        kind: Some(kind),
        ..Default::default()
    }
}

pub fn started(position: &str) -> v1::WatchResponse {
    message(position, Kind::Started(v1::WatchStarted {}))
}

pub fn bookmark(position: &str) -> v1::WatchResponse {
    message(position, Kind::Bookmark(v1::WatchBookmark {}))
}

/// One commit with these keys.
pub fn commit(position: &str, revision: u64, keys: &[&str], more: bool) -> v1::WatchResponse {
    let event = |key: &&str| v1::WatchEvent {
        key: super::key(key),
        ..Default::default()
    };
    let commits = vec![v1::WatchCommit {
        revision,
        events: keys.iter().map(event).collect(),
        more,
        ..Default::default()
    }];
    message(position, Kind::Commits(v1::WatchCommits { commits }))
}

/// One commit with a value of this size.
pub fn large_commit(revision: u64, bytes: usize) -> v1::WatchResponse {
    let mut large = commit(&revision.to_string(), revision, &["1"], false);
    if let Some(Kind::Commits(commits)) = &mut large.kind {
        commits.commits[0].events[0].record = Some(v1::Record {
            value: vec![0; bytes].into(),
            ..Default::default()
        });
    }
    large
}

/// The revisions and keys of a message of commits.
pub fn told(message: &v1::WatchResponse) -> Vec<(u64, Vec<String>)> {
    let Some(Kind::Commits(commits)) = &message.kind else {
        return Vec::new();
    };
    let key = |event: &v1::WatchEvent| {
        let key = event.key.clone().unwrap_or_default().key;
        String::from_utf8_lossy(&key).into_owned()
    };
    let commits = commits.commits.iter();
    commits
        .map(|commit| (commit.revision, commit.events.iter().map(key).collect()))
        .collect()
}

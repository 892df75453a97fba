//! `WatchService`: tells of changes as they are committed.
//!
//! One [`Stream`](stream::WatchStream) is polled by the task of its HTTP/2 stream, when that has room: so a slow reader
//! holds up only itself. Files are read on threads that may wait, a few at a time.
//!
//! - [`stream`]: one watch, from commits to messages.
//! - [`pack`]: how commits are put into messages.

pub mod pack;
pub mod stream;

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
};

use futures_util::stream as futures;
use stillpoint_proto::v1::{
    Reason, StoreError, WatchRequest, WatchResponse, watch_service_server::WatchService,
};
use tokio::sync::{Semaphore, watch};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use self::stream::WatchStream;
use super::Gauges;
use crate::store::{Store, feed::Watch};

/// How many watches may read files at the same time. Each keeps a portion in memory meanwhile.
const READERS_MAX: usize = 4;

/// `WatchService` on a store.
#[derive(Clone, Debug)]
pub struct WatchApi {
    store: Store,
    stopping: watch::Receiver<bool>,
    gauges: Arc<Gauges>,
    files: Files,
}

impl WatchApi {
    /// The service; `stopping` becomes true when the server stops. Needs a runtime, in which it wakes the watches until
    /// then.
    pub fn new(store: Store, stopping: watch::Receiver<bool>, gauges: Arc<Gauges>) -> WatchApi {
        let (told, mut until) = (store.clone(), stopping.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = told.feed().herald() => {}
                // It also ends when nobody is left who could stop the server.
                _ = until.wait_for(|stopping| *stopping) => {}
            }
        });
        WatchApi {
            store,
            stopping,
            gauges,
            files: Files(Arc::new(Semaphore::new(READERS_MAX))),
        }
    }

    /// Begins a watch.
    pub async fn begin(&self, request: WatchRequest) -> Result<WatchStream, StoreError> {
        let counted = Counted::new(&self.gauges, self.store.config().limits.watches as u64)?;
        let watch = self.store.watch(&request)?;
        WatchStream::begin(self, watch, request, counted).await
    }
}

#[tonic::async_trait]
impl WatchService for WatchApi {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let begun = self.begin(request.into_inner()).await;
        let stream = begun.map_err(|error| error.to_status())?;
        let messages = futures::unfold(stream, |mut stream| async {
            let message = stream.next().await?;
            Some((message.map_err(|error| error.to_status()), stream))
        });
        Ok(Response::new(Box::pin(messages)))
    }
}

/// Where files are read.
#[derive(Clone, Debug)]
pub struct Files(Arc<Semaphore>);

impl Files {
    /// Lends a watch to a thread that may wait.
    async fn with<T: Send + 'static>(
        &self,
        mut watch: Box<Watch>,
        work: impl FnOnce(&mut Watch) -> T + Send + 'static,
    ) -> Result<(Box<Watch>, T), StoreError> {
        let permit = self.0.clone().acquire_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let done = work(&mut watch);
            (watch, done)
        });
        done.await.map_err(|_| stopping())
    }
}

/// The end of a watch.
fn stopping() -> StoreError {
    StoreError::new(
        Reason::Unavailable,
        "the server is stopping: watch again from the last position",
    )
}

/// A watch, counted as long as it lives.
#[derive(Debug)]
pub struct Counted(Arc<Gauges>);

impl Counted {
    fn new(gauges: &Arc<Gauges>, limit: u64) -> Result<Counted, StoreError> {
        let open = gauges.watches.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(gauges.clone());
        if open >= limit {
            let message = format!(
                "{limit} watches are open, which is the limit (limits.watches): close some, or raise it"
            );
            return Err(StoreError::new(Reason::Quota, message));
        }
        Ok(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.watches.fetch_sub(1, Ordering::Relaxed);
    }
}

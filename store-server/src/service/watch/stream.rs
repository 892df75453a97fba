//! One watch, from commits to messages.
//!
//! ```text
//!            ┌──────────── a gap ────────────┐
//!            ▼                               │
//!  begin ─▶ pages of the state ─▶ what changed meanwhile ─▶ live: commits as they come
//!    └───────────────── nothing to tell first ──────────────▲
//! ```

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use stillpoint_proto::v1::{
    ResponseHeader, ResyncBegin, ResyncEnd, StoreError, WatchBookmark, WatchRequest, WatchResponse,
    WatchStarted, watch_response::Kind,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{Counted, Files, WatchApi, pack, stopping};
use crate::store::feed::{Gap, Pages, Position, Recent, Tell, Watch};

/// How long nothing may be told without a bookmark. A little less than the second that is promised.
const BOOKMARK_AFTER: Duration = Duration::from_millis(900);

/// The server's side of one watch.
#[derive(Debug)]
pub struct WatchStream {
    /// Always there, but while it is lent to a thread that reads files.
    watch: Option<Box<Watch>>,
    bell: watch::Receiver<()>,
    stopping: watch::Receiver<bool>,
    files: Files,
    header: ResponseHeader,
    bytes_max: usize,
    stage: Stage,
    outbox: VecDeque<WatchResponse>,
    told_at: Instant,
    is_over: bool,
    _counted: Counted,
}

/// How far a watch is.
#[derive(Debug)]
enum Stage {
    /// It tells commits.
    Live,
    /// It tells the state, page by page.
    Pages(Pages),
    /// It tells what changed since the pages were read, up to this sequence number, at least.
    Changes(Pages, u64),
}

impl WatchStream {
    /// Brings a watch where its request says.
    pub(super) async fn begin(
        api: &WatchApi,
        watch: Watch,
        request: WatchRequest,
        counted: Counted,
    ) -> Result<WatchStream, StoreError> {
        let mut stream = WatchStream {
            bell: watch.feed().bell(),
            watch: Some(Box::new(watch)),
            stopping: api.stopping.clone(),
            files: api.files.clone(),
            header: api.store.header(),
            bytes_max: api.store.config().limits.answer_bytes(),
            stage: Stage::Live,
            outbox: VecDeque::new(),
            told_at: Instant::now(),
            is_over: false,
            _counted: counted,
        };
        let now = stream.watch()?.position();
        stream.wait_until_told(now.seq).await?;
        let first = stream.lend(move |watch| watch.seek(&request)).await??;
        let started = Kind::Started(WatchStarted {});
        match first {
            None => {
                let position = stream.watch()?.position();
                stream.push(started, position);
            }
            Some(reason) => {
                // Who comes back before the state is whole must get it then, so there is no place to come back to.
                let revision = stream.watch()?.position().revision;
                stream.push_resync(started, revision);
                stream.tell_state(reason)?;
            }
        }
        Ok(stream)
    }

    /// The next message; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<WatchResponse, StoreError>> {
        let mut stop = self.stopping.clone();
        loop {
            if self.is_over {
                return None;
            }
            if let Some(message) = self.outbox.pop_front() {
                self.told_at = Instant::now();
                return Some(Ok(message));
            }
            let step = tokio::select! {
                biased;
                _ = stop.wait_for(|stopping| *stopping) => Err(stopping()),
                step = self.step() => step,
            };
            if let Err(error) = step {
                self.is_over = true;
                return Some(Err(error));
            }
        }
    }

    /// Does what is to be done next; there may be messages then.
    async fn step(&mut self) -> Result<(), StoreError> {
        match std::mem::replace(&mut self.stage, Stage::Live) {
            Stage::Live => self.step_live().await,
            Stage::Pages(pages) => self.step_page(pages).await,
            Stage::Changes(pages, until_seq) => self.step_changes(pages, until_seq).await,
        }
    }

    async fn step_live(&mut self) -> Result<(), StoreError> {
        let until = self.told_at + BOOKMARK_AFTER;
        match self.read(until).await? {
            Ok(tells) => {
                let tells = tells.into_iter().filter(|tell| !tell.is_own).collect();
                let end = self.watch()?.position();
                for packed in pack::commits(tells, end, self.bytes_max) {
                    self.push(packed.kind, packed.position);
                }
                if self.outbox.is_empty() && Instant::now() >= until {
                    self.push(Kind::Bookmark(WatchBookmark {}), end);
                }
                Ok(())
            }
            Err(gap) => self.tell_state(gap.reason),
        }
    }

    async fn step_page(&mut self, mut pages: Pages) -> Result<(), StoreError> {
        let lent = self.lend(move |watch| {
            let page = watch.page(&mut pages)?;
            Ok::<_, StoreError>((page, pages))
        });
        let (page, pages) = lent.await??;
        for kind in pack::data(page.events, self.bytes_max) {
            self.push_resync(kind, page.revision);
        }
        self.stage = match page.is_last {
            true => Stage::Changes(pages, page.seq),
            false => Stage::Pages(pages),
        };
        Ok(())
    }

    async fn step_changes(&mut self, pages: Pages, until_seq: u64) -> Result<(), StoreError> {
        let position = self.watch()?.position();
        if position.seq >= until_seq {
            // The pages may have what is not durable yet.
            self.wait_until_told(until_seq).await?;
            self.push(Kind::ResyncEnd(ResyncEnd {}), position);
            return Ok(());
        }
        let soon = Instant::now() + BOOKMARK_AFTER;
        match self.read(soon).await? {
            Ok(tells) => {
                for kind in pack::changed(tells, &pages, self.bytes_max) {
                    self.push_resync(kind, position.revision);
                }
                self.watch()?.check_alive()?;
                self.stage = Stage::Changes(pages, until_seq);
                Ok(())
            }
            Err(gap) => self.tell_state(gap.reason),
        }
    }

    /// Begins to tell the state, from now on.
    fn tell_state(&mut self, reason: String) -> Result<(), StoreError> {
        let watch = self.watch()?;
        watch.go_to_now();
        let (pages, revision) = (watch.pages(), watch.position().revision);
        self.push_resync(Kind::ResyncBegin(ResyncBegin { reason }), revision);
        self.stage = Stage::Pages(pages);
        Ok(())
    }

    /// Reads what comes next; waits for it, if there is nothing, until then.
    async fn read(&mut self, until: Instant) -> Result<Result<Vec<Tell>, Gap>, StoreError> {
        self.bell.mark_unchanged();
        let bytes_max = self.bytes_max;
        match self.watch()?.read_recent(bytes_max) {
            Err(gap) => Ok(Err(gap)),
            Ok(Recent::Told(tells)) => {
                // Others want to go on too.
                tokio::task::yield_now().await;
                Ok(Ok(tells))
            }
            Ok(Recent::InLog) => self.lend(move |watch| watch.read_log(bytes_max)).await,
            Ok(Recent::Nothing) => {
                // That the time is over is nothing to tell.
                let _ = timeout_at(until, self.bell.changed()).await;
                Ok(Ok(Vec::new()))
            }
        }
    }

    /// Waits until everything up to this sequence number may be told.
    async fn wait_until_told(&mut self, seq: u64) -> Result<(), StoreError> {
        loop {
            self.bell.mark_unchanged();
            let watch = self.watch()?;
            if watch.feed().told_seq() >= seq {
                return Ok(());
            }
            watch.check_alive()?;
            let soon = Instant::now() + BOOKMARK_AFTER;
            let _ = timeout_at(soon, self.bell.changed()).await;
        }
    }

    async fn lend<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Watch) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let watch = self.watch.take().ok_or_else(stopping)?;
        let (watch, done) = self.files.with(watch, work).await?;
        self.watch = Some(watch);
        Ok(done)
    }

    fn watch(&mut self) -> Result<&mut Watch, StoreError> {
        self.watch.as_deref_mut().ok_or_else(stopping)
    }

    /// Tells what leaves the watch at a position.
    fn push(&mut self, kind: Kind, position: Position) {
        self.send(kind, position.revision, position.encode());
    }

    /// Tells what is of no use to who does not hear the rest of the state, so there is no place to come back to.
    fn push_resync(&mut self, kind: Kind, revision: u64) {
        self.send(kind, revision, Bytes::new());
    }

    fn send(&mut self, kind: Kind, revision: u64, position: Bytes) {
        self.outbox.push_back(WatchResponse {
            header: Some(ResponseHeader {
                revision,
                ..self.header.clone()
            }),
            position,
            kind: Some(kind),
        });
    }
}

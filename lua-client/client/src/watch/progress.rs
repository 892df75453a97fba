//! How far a watch got: the rules for going on after a loss, without I/O.
//!
//! What the taker was handed is complete up to the last position handed out, so a stream that breaks is opened anew from there.
//! That is why a commit that comes in several messages is handed on only once it is whole, and together with the position
//! behind it. Within a resync there is no position; it begins anew.

use bytes::Bytes;
use stillpoint_proto::v1::{
    WatchCommits, WatchRequest, WatchResponse, watch_request::Start, watch_response::Kind,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Progress {
    request: WatchRequest,
    /// The last position handed out.
    position: Option<Bytes>,
    /// The taker knows that the watch stands.
    is_started: bool,
    /// The taker was told that a resync begins, and not that it ended.
    in_resync: bool,
    /// Commits of which the last is not whole.
    held: Option<(WatchResponse, WatchCommits)>,
}

impl Progress {
    /// A watch that is to begin as requested.
    pub fn new(request: WatchRequest) -> Self {
        Progress {
            request,
            position: None,
            is_started: false,
            in_resync: false,
            held: None,
        }
    }

    /// Whether the watch stood before.
    pub fn is_started(&self) -> bool {
        self.is_started
    }

    /// What to open the next stream with.
    pub fn open(&mut self) -> WatchRequest {
        self.held = None;
        let mut request = self.request.clone();
        if self.in_resync {
            // From a position the store might go on without another resync, and the taker would wait for its end.
            request.start = None;
            request.snapshot = true;
        } else if let Some(position) = &self.position {
            request.start = Some(Start::Position(position.clone()));
        }
        request
    }

    /// Takes in a message and returns what to hand on.
    pub fn take(&mut self, mut message: WatchResponse) -> Option<WatchResponse> {
        match message.kind.take()? {
            Kind::Commits(commits) => return self.take_commits(message, commits),
            kind @ Kind::Started(_) => {
                if std::mem::replace(&mut self.is_started, true) {
                    return None;
                }
                message.kind = Some(kind);
                // Where a first snapshot may follow, going on from here would leave it out.
                if self.may_begin_with_snapshot() {
                    return Some(message);
                }
            }
            // Within a commit it says nothing.
            Kind::Bookmark(_) if self.held.is_some() => return None,
            kind @ Kind::Bookmark(_) => message.kind = Some(kind),
            kind @ Kind::ResyncBegin(_) => {
                self.held = None;
                self.in_resync = true;
                message.kind = Some(kind);
                return Some(message);
            }
            kind @ Kind::ResyncData(_) => message.kind = Some(kind),
            kind @ Kind::ResyncEnd(_) => {
                self.in_resync = false;
                message.kind = Some(kind);
            }
        }
        self.moves(&message);
        Some(message)
    }

    fn take_commits(
        &mut self,
        header: WatchResponse,
        commits: WatchCommits,
    ) -> Option<WatchResponse> {
        let commits = match self.held.take() {
            Some((_, before)) => joined(before, commits),
            None => commits,
        };
        if commits.commits.last().is_some_and(|commit| commit.more) {
            self.held = Some((header, commits));
            return None;
        }
        self.moves(&header);
        Some(WatchResponse {
            kind: Some(Kind::Commits(commits)),
            ..header
        })
    }

    /// The message is handed on.
    fn moves(&mut self, message: &WatchResponse) {
        if !message.position.is_empty() && !self.in_resync {
            self.position = Some(message.position.clone());
        }
    }

    fn may_begin_with_snapshot(&self) -> bool {
        let may_be_now = matches!(self.request.start, None | Some(Start::Cursor(_)));
        self.request.snapshot && may_be_now
    }
}

/// Commits of which the last goes on with the first of the next.
fn joined(mut before: WatchCommits, next: WatchCommits) -> WatchCommits {
    let mut next = next.commits.into_iter();
    if let (Some(last), Some(rest)) = (before.commits.last_mut(), next.next()) {
        last.events.extend(rest.events);
        last.more = rest.more;
    }
    before.commits.extend(next);
    before
}

#[cfg(test)]
mod tests {
    use stillpoint_proto::v1::{
        ResyncBegin, ResyncData, ResyncEnd, WatchBookmark, WatchCommit, WatchEvent, WatchStarted,
    };

    use super::*;

    fn watch(snapshot: bool) -> Progress {
        Progress::new(WatchRequest {
            collection: "player".into(),
            snapshot,
            ..Default::default()
        })
    }

    fn message(position: &'static str, kind: Kind) -> WatchResponse {
        WatchResponse {
            position: position.into(),
            kind: Some(kind),
            ..Default::default()
        }
    }

    fn started(position: &'static str) -> WatchResponse {
        message(position, Kind::Started(WatchStarted {}))
    }

    fn begin() -> WatchResponse {
        message("", Kind::ResyncBegin(ResyncBegin::default()))
    }

    fn data() -> WatchResponse {
        message("", Kind::ResyncData(ResyncData::default()))
    }

    fn end(position: &'static str) -> WatchResponse {
        message(position, Kind::ResyncEnd(ResyncEnd {}))
    }

    /// Commits as (revision, events, more).
    fn commits(position: &'static str, parts: &[(u64, usize, bool)]) -> WatchResponse {
        let part = |&(revision, events, more): &(u64, usize, bool)| WatchCommit {
            revision,
            events: vec![WatchEvent::default(); events],
            more,
            ..Default::default()
        };
        let commits = parts.iter().map(part).collect();
        message(position, Kind::Commits(WatchCommits { commits }))
    }

    fn start(progress: &mut Progress) -> Option<Start> {
        progress.open().start
    }

    fn at(position: &'static str) -> Option<Start> {
        Some(Start::Position(position.into()))
    }

    #[test]
    fn it_goes_on_from_the_last_position_handed_out() {
        let mut progress = watch(false);
        assert_eq!(start(&mut progress), None);
        assert!(progress.take(started("a")).is_some());
        assert_eq!(start(&mut progress), at("a"));
        assert_eq!(progress.take(started("a")), None, "told twice");
        for message in [
            commits("b", &[(1, 1, false)]),
            message("c", Kind::Bookmark(WatchBookmark {})),
        ] {
            assert_eq!(progress.take(message.clone()), Some(message.clone()));
            assert_eq!(
                start(&mut progress),
                Some(Start::Position(message.position))
            );
        }
    }

    #[test]
    fn a_commit_in_parts_is_handed_on_whole() {
        let mut progress = watch(false);
        progress.take(started("a"));
        let first = commits("b", &[(1, 1, false), (2, 2, true)]);
        assert_eq!(progress.take(first), None);
        let bookmark = message("x", Kind::Bookmark(WatchBookmark {}));
        assert_eq!(progress.take(bookmark), None, "within a commit");
        assert_eq!(progress.take(commits("c", &[(2, 3, true)])), None);
        let last = commits("d", &[(2, 1, false), (3, 1, false)]);
        assert_eq!(
            progress.take(last),
            Some(commits("d", &[(1, 1, false), (2, 6, false), (3, 1, false)]))
        );
        assert_eq!(start(&mut progress), at("d"));
    }

    #[test]
    fn half_a_commit_is_forgotten_when_the_stream_breaks() {
        let mut progress = watch(false);
        progress.take(started("a"));
        progress.take(commits("b", &[(1, 1, false), (2, 2, true)]));
        assert_eq!(start(&mut progress), at("a"));
        let again = commits("c", &[(1, 1, false), (2, 3, false)]);
        assert_eq!(progress.take(again.clone()), Some(again));
    }

    #[test]
    fn a_resync_that_broke_begins_anew() {
        let mut progress = watch(false);
        progress.take(started("a"));
        progress.take(begin());
        assert_eq!(progress.take(data()), Some(data()));
        let again = progress.open();
        assert_eq!(again.start, None);
        assert!(again.snapshot);
        assert_eq!(progress.take(begin()), Some(begin()));
        progress.take(end("b"));
        let after = progress.open();
        assert_eq!(after.start, at("b"));
        assert!(!after.snapshot, "asked for only because of the loss");
    }

    #[test]
    fn a_first_snapshot_is_not_left_out_by_a_loss_before_it() {
        let mut progress = watch(true);
        progress.take(started("a"));
        let again = progress.open();
        assert_eq!(again.start, None);
        assert!(again.snapshot);
    }
}

//! Where a watch begins.

use std::sync::Arc;

use stillpoint_proto::v1::{Reason, StoreError, WatchRequest, watch_request::Start};

use super::{Position, Watch, filter::Filter};
use crate::{
    log::reader::{ReadError, Reader},
    store::{
        keys, read,
        schema::{self, Speaks},
        shared::Shared,
    },
};

impl Watch {
    /// A watch that stands at what is readable now. What is told from now on is kept for it. The request's names were
    /// checked.
    pub fn new(shared: Arc<Shared>, request: &WatchRequest) -> Result<Watch, StoreError> {
        let filter = Filter::new(request)?;
        let context = request.context.clone().unwrap_or_default();
        let speaks = schema::speaks(
            &shared.index.read(),
            &filter.namespace,
            &context.session_id,
            context.fence,
        );
        if let Speaks::Nobody(error) = &speaks
            && shared.schemas.is_managed()
            && shared.schemas.table().is_managed(&filter.namespace)
        {
            return Err(StoreError::clone(error));
        }
        // At first it holds all of the log, so that nothing goes before it has found its place.
        let (id, place) = shared.feed.enter(0);
        let mut watch = Watch {
            id,
            place,
            filter,
            speaks,
            position: Position {
                incarnation: shared.dir.identity().incarnation,
                revision: 0,
                seq: 0,
            },
            reader: Reader::default(),
            shared,
        };
        watch.go_to_now();
        Ok(watch)
    }

    /// Goes to what is readable now, be it told or not.
    pub fn go_to_now(&mut self) {
        let view = self.shared.view.read();
        let position = Position {
            revision: view.namespace(&self.filter.namespace).revision,
            seq: view.last_seq(),
            ..self.position
        };
        drop(view);
        self.move_to(position);
    }

    /// Goes where the request says; all up to where it stands must have been told. The answer is why the state has to be
    /// told first, if it has. May read much of the log.
    pub fn seek(&mut self, request: &WatchRequest) -> Result<Option<String>, StoreError> {
        let cursor;
        let position = match &request.start {
            Some(Start::AfterRevision(revision)) => return self.seek_revision(*revision),
            Some(Start::Position(position)) => Some(&position[..]),
            Some(Start::Cursor(name)) => {
                cursor = self.cursor(name)?;
                cursor.as_deref()
            }
            None => None,
        };
        let Some(position) = position else {
            let reason = "the state was asked for";
            return Ok(request.snapshot.then(|| reason.to_owned()));
        };
        match Position::decode(position) {
            Some(position) => Ok(self.seek_position(position)),
            None => {
                let message = "the position is none that a watch has told";
                Err(StoreError::new(Reason::Invalid, message))
            }
        }
    }

    /// The bytes of the position that a cursor has; `None`: there is no such cursor.
    fn cursor(&self, name: &str) -> Result<Option<bytes::Bytes>, StoreError> {
        let key = keys::system(
            &self.filter.namespace,
            keys::System::Cursor,
            name.as_bytes(),
        );
        let stored = self
            .shared
            .view
            .read()
            .get(&key)
            .map_err(read::engine_failed)?;
        stored
            .map(|stored| Ok(read::decode(&stored)?.value))
            .transpose()
    }

    fn seek_position(&mut self, position: Position) -> Option<String> {
        let now = self.position;
        if position.incarnation != now.incarnation {
            return Some(format!(
                "the position is of incarnation {}, the store is incarnation {}: it was restored",
                position.incarnation, now.incarnation
            ));
        }
        if position.seq > now.seq || position.revision > now.revision {
            return Some("the position lies ahead of the store: it is of another history".into());
        }
        // Where nothing has happened in the namespace since, there is nothing to look for in the log.
        if position.revision < now.revision {
            self.move_to(position);
        }
        None
    }

    fn seek_revision(&mut self, revision: u64) -> Result<Option<String>, StoreError> {
        let now = self.position;
        if revision > now.revision {
            let message = format!(
                "the namespace is at revision {}: it cannot be watched from revision {revision} on",
                now.revision
            );
            return Err(StoreError::new(Reason::Invalid, message));
        }
        if revision == now.revision {
            return Ok(None);
        }
        let shared = &self.shared;
        let found = shared.feed.seq_of(
            &shared.segments,
            now.seq,
            &self.filter.namespace,
            revision + 1,
        );
        let found = match found {
            Ok(found) => found,
            Err(ReadError::Removed { .. }) => None,
            Err(error) => {
                tracing::error!(%error, "cannot look for a revision in the log");
                None
            }
        };
        let Some(seq) = found else {
            return Ok(Some(format!(
                "the log does not reach back to revision {revision}"
            )));
        };
        self.move_to(Position {
            revision,
            seq: seq - 1,
            ..now
        });
        Ok(None)
    }
}

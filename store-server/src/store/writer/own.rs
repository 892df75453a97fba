//! Commits of the store's own making: sessions that open, are left and end, and its own records.

use std::sync::Arc;

use stillpoint_proto::v1::StoreError;

use super::{Batch, Writer, commit::CommitOrigin, item::check_size, waiting::Waiting};
use crate::{
    log::Origin,
    store::{
        clock::now_ms,
        draft::{Accepted, Draft},
        give_back::{self, GiveBack, GivenBack},
        index::Index,
        own_record::{self, Committed, OwnRecord},
        schema::{self, SchemaCommitted, SchemaJob},
        session::{self, Session, SessionChange},
        shared::SessionJob,
    },
};

impl Writer {
    pub(super) fn session(&mut self, batch: &mut Batch, job: SessionJob, now_ms: u64) -> Waiting {
        let taken = self.shared.gate.check();
        let result = taken.and_then(|()| self.change_session(batch, &job, now_ms));
        Waiting::Session {
            result,
            reply: job.reply,
        }
    }

    fn change_session(
        &mut self,
        batch: &mut Batch,
        job: &SessionJob,
        now_ms: u64,
    ) -> Result<Option<Session>, StoreError> {
        if let Some(error) = &batch.failed {
            return Err(error.clone());
        }
        let source = Accepted {
            view: &self.shared.view,
            pending: &batch.pending,
        };
        let mut draft = Draft::new(&source, &job.namespace);
        let (namespace, change) = (&job.namespace, &job.change);
        let terms = session::Terms {
            now_ms,
            incarnation: self.shared.dir.identity().incarnation,
            sessions_max: self.shared.config.limits.sessions,
            schemas: &self.schemas,
        };
        let session = session::change(&mut draft, &self.index, namespace, change, &terms)?;
        let revision = draft.revision;
        let changes = draft.into_changes().collect();
        batch.needs_sync = true;
        let id: Arc<str> = match (&session, change) {
            (Some(session), _) => session.id.clone(),
            (None, SessionChange::End { id, .. }) => id.clone(),
            (None, _) => "".into(),
        };
        let origin = CommitOrigin {
            origin: Origin::Session,
            principal: "",
            session: &id,
            writer: None,
            once: &[],
        };
        self.accept(batch, namespace, revision, changes, &origin, &[], now_ms);
        Ok(session)
    }

    /// Writes a record of the store's own.
    pub(super) fn own_record(
        &mut self,
        batch: &mut Batch,
        record: &OwnRecord,
        now_ms: u64,
    ) -> Result<Committed, StoreError> {
        let write = |draft: &mut Draft<'_>, source: &Accepted<'_>, _: &Index| {
            own_record::write(draft, source, record)
        };
        let by = (Origin::Client, "");
        let ((), committed) = self.own_commit(batch, &record.namespace, by, now_ms, write)?;
        Ok(committed)
    }

    /// Writes records for an operator.
    pub(super) fn give_back(
        &mut self,
        batch: &mut Batch,
        given: &GiveBack,
        now_ms: u64,
    ) -> Result<GivenBack, StoreError> {
        let (namespace, records) = (&given.namespace, &given.records);
        let table = self.schemas.clone();
        let write = |draft: &mut Draft<'_>, _: &Accepted<'_>, index: &Index| {
            give_back::write(draft, index, namespace, records, &table)
        };
        let by = (Origin::Client, &*given.actor);
        let (owners, committed) = self.own_commit(batch, namespace, by, now_ms, write)?;
        Ok(GivenBack { committed, owners })
    }

    /// Changes scripts, versions, or the version of records.
    pub(super) fn schema(&mut self, batch: &mut Batch, job: SchemaJob, now_ms: u64) -> Waiting {
        let SchemaJob { mut commit, reply } = job;
        let (namespace, actor) = (commit.namespace.clone(), commit.actor.clone());
        let table = self.schemas.clone();
        let write = |draft: &mut Draft<'_>, _: &Accepted<'_>, index: &Index| {
            schema::write(draft, index, &table, &mut commit)
        };
        let by = (Origin::Migration, &*actor);
        let written = self.own_commit(batch, &namespace, by, now_ms, write);
        let result = written.map(|(rewritten, committed)| SchemaCommitted {
            committed,
            rewritten,
        });
        Waiting::Schema { result, reply }
    }

    /// Makes a commit of what `write` writes, if the store takes writes; what makes it, and the actor who asks for it, if
    /// somebody does.
    fn own_commit<T>(
        &mut self,
        batch: &mut Batch,
        namespace: &Arc<str>,
        (origin, actor): (Origin, &str),
        now_ms: u64,
        write: impl FnOnce(&mut Draft<'_>, &Accepted<'_>, &Index) -> Result<T, StoreError>,
    ) -> Result<(T, Committed), StoreError> {
        self.shared.gate.check()?;
        if let Some(error) = &batch.failed {
            return Err(error.clone());
        }
        let source = Accepted {
            view: &self.shared.view,
            pending: &batch.pending,
        };
        let mut draft = Draft::new(&source, namespace);
        let written = write(&mut draft, &source, &self.index)?;
        let committed = Committed {
            revision: draft.revision,
            seq: self.appender.next_seq() + u64::from(self.frame.count()),
        };
        let changes: Vec<_> = draft.into_changes().collect();
        check_size(&changes, &[])?;
        batch.needs_sync = true;
        let origin = CommitOrigin {
            origin,
            principal: actor,
            session: "",
            writer: None,
            once: &[],
        };
        self.accept(
            batch,
            namespace,
            committed.revision,
            changes,
            &origin,
            &[],
            now_ms,
        );
        Ok((written, committed))
    }

    /// A store that was restored or repaired may give a revision again, and so a fence: no session outlives that.
    pub(super) fn end_sessions_of_other_incarnations(&mut self) {
        let now_ms = now_ms();
        let incarnation = self.shared.dir.identity().incarnation;
        let others = self.index.sessions();
        let others = others.filter(|(_, session)| session.incarnation != incarnation);
        let jobs: Vec<_> = others
            .map(|(namespace, session)| SessionJob {
                namespace: namespace.clone(),
                change: SessionChange::End {
                    id: session.id.clone(),
                    fence: session.fence,
                },
                reply: Box::new(drop),
            })
            .collect();
        let mut batch = Batch::default();
        self.frame.begin(self.appender.next_seq());
        for job in &jobs {
            if let Err(error) = self.change_session(&mut batch, job, now_ms) {
                return self.shared.gate.fail(error.message);
            }
        }
        // A failure has closed the gate, and nobody waits for an answer.
        let _ = self.commit(batch, now_ms);
    }
}

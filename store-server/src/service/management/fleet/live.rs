//! The processes of this server, as the course of a reload sees them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use stillpoint_proto::v1::{ActionOutcome, Phase, ProcessUpdate, Selection};
use tokio::time::timeout;

use super::{answer::Answer, course::Fleet, verb::Verb, verdict::Verdict};
use crate::service::{
    management::{
        action::{AskOptions, Teller, ask_all},
        dispatch::{Process, Word},
        selection::select,
    },
    session::hub::Hub,
};

/// What the course has to do with: this server's sessions, and the operator.
pub struct Live {
    hub: Arc<Hub>,
    /// The action's, and what the processes know the reload by.
    id: String,
    /// The operator's, for the kit.
    reload_options: Bytes,
    selection: Selection,
    options: AskOptions,
    teller: Teller,
    /// The first last word of each identity that was not the one hoped for: it may be the reason of how it ends.
    failed: BTreeMap<String, (Process, ProcessUpdate)>,
}

/// Added to the time for which something is kept ready: the server's own work between the phases.
const HOLD_MARGIN: Duration = Duration::from_secs(5);

impl Live {
    /// The processes of a selection.
    pub fn new(
        hub: Arc<Hub>,
        id: &str,
        reload_options: Bytes,
        selection: Selection,
        options: AskOptions,
        teller: Teller,
    ) -> Live {
        Live {
            hub,
            id: id.to_owned(),
            reload_options,
            selection,
            options,
            teller,
            failed: BTreeMap::new(),
        }
    }

    /// Tells the end. After a reload that did not go well, the last word that is kept of each process is the one that says
    /// why, and not that it has been taken back.
    pub async fn finish(mut self, verdict: Verdict) {
        let failed = match verdict.outcome {
            ActionOutcome::Ok => BTreeMap::new(),
            _ => std::mem::take(&mut self.failed),
        };
        for (identity, (process, update)) in failed {
            // What stands of a successor is its own.
            if !self.has_successor(&identity, &process) {
                self.teller.keep(&process, update);
            }
        }
        self.teller.finish(verdict.outcome, &verdict.message).await;
    }

    fn has_successor(&self, identity: &str, process: &Process) -> bool {
        let index = self.hub.store().index();
        let session = index.session_of(&process.key.namespace, identity);
        session.is_some_and(|session| session.fence > process.fence)
    }

    /// How long a process keeps ready what it has prepared: until the last one has committed, should each take all its
    /// time.
    fn hold(&self, processes: usize) -> Duration {
        let waves = match self.options.parallel {
            0 => 1,
            parallel => processes.div_ceil(parallel),
        };
        let waves = u32::try_from(waves).unwrap_or(u32::MAX);
        let phase = self.options.timeout.saturating_mul(waves);
        phase.saturating_mul(2).saturating_add(HOLD_MARGIN)
    }
}

impl Fleet for Live {
    async fn ask(&mut self, phase: Phase, verb: Verb, of: &[Process], reason: &str) -> Vec<Answer> {
        self.teller.phase(phase, of.len(), reason);
        let options = AskOptions {
            // Once one has not gone over, none of those to come needs to go back.
            stop_on_error: match verb {
                Verb::Commit => true,
                Verb::Plan | Verb::Prepare => self.options.stop_on_error,
                Verb::Abort | Verb::Undo | Verb::Rollback | Verb::Status => false,
            },
            // What is begun with some is brought to an end with all.
            stop_when_unheard: matches!(verb, Verb::Plan | Verb::Prepare),
            ..self.options.clone()
        };
        let arguments = verb.arguments(&self.id, &self.reload_options, self.hold(of.len()));
        let words = ask_all(
            &self.hub,
            &mut self.teller,
            phase,
            of,
            verb.command(),
            |_| arguments.clone(),
            &options,
        )
        .await;
        let answers = words.into_iter().map(|(process, word)| {
            let answer = Answer::of(&word);
            if !word.is_ok()
                && !matches!(word, Word::Skipped(_))
                && let Some(update) = self.teller.last(&process)
            {
                let update = update.clone();
                let entry = self.failed.entry(process.identity());
                entry.or_insert((process, update));
            }
            answer
        });
        answers.collect()
    }

    fn now(&self) -> Vec<Process> {
        // It was good when the action began.
        select(&self.hub, &self.selection).unwrap_or_default()
    }

    fn is_heard(&self) -> bool {
        self.teller.is_heard()
    }

    async fn settle(&mut self, these: &[Process]) {
        let settled = these.iter().map(|process| {
            let identity = process.identity();
            let hub = &self.hub;
            async move { hub.settled(&process.key.namespace, &identity).await }
        });
        // Who has not come by then is not there.
        let _ = timeout(self.options.timeout, join_all(settled)).await;
    }
}

//! What an action tells: its caller while it runs, and the journal at its end.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use prost::Message;
use stillpoint_proto::v1::{
    ActionBegun, ActionOutcome, ActionSummary, ManageResponse, Phase, PhaseBegun, ProcessState,
    ProcessUpdate, ResponseHeader, manage_response::Kind,
};
use tokio::{sync::mpsc, time::Instant};

use super::{
    audit::Record,
    dispatch::{Process, Word},
};
use crate::service::session::asked::shortened;

/// What an action tells while it runs. The caller may be gone; the last word on each process is kept for the end.
#[derive(Debug)]
pub struct Teller {
    header: ResponseHeader,
    to: mpsc::UnboundedSender<ManageResponse>,
    /// Bytes told and not read yet.
    unread: Arc<AtomicUsize>,
    record: Option<Record>,
    last: BTreeMap<(String, String), ProcessUpdate>,
}

/// What an action tells, for the caller.
#[derive(Debug)]
pub struct Told {
    from: mpsc::UnboundedReceiver<ManageResponse>,
    unread: Arc<AtomicUsize>,
}

/// While a caller has left so much unread, it is told less: no states in between, no values. An action never waits for its
/// caller.
const UNREAD_BYTES_MAX: usize = 64 << 20;

/// Most bytes of a process's last message, and of its traceback, that are kept for the summary.
const KEPT_BYTES_MAX: usize = 4096;

impl Teller {
    /// Begins to tell. With a record, its end is written down.
    pub fn begin(
        header: ResponseHeader,
        action_id: &str,
        expected: &[Process],
        record: Option<Record>,
    ) -> (Teller, Told) {
        let (to, from) = mpsc::unbounded_channel();
        if let Some(record) = &record {
            record.told_through(&to);
        }
        let unread = Arc::new(AtomicUsize::new(0));
        let teller = Teller {
            header,
            to,
            unread: unread.clone(),
            record,
            last: BTreeMap::new(),
        };
        teller.tell(Kind::Begun(ActionBegun {
            action_id: action_id.into(),
            expected: expected.iter().map(Process::to_ref).collect(),
        }));
        (teller, Told { from, unread })
    }

    /// A phase begins.
    pub fn phase(&mut self, phase: Phase, processes: usize, reason: &str) {
        self.tell(Kind::Phase(PhaseBegun {
            phase: phase.into(),
            processes: processes.try_into().unwrap_or(u32::MAX),
            reason: reason.into(),
        }));
    }

    /// A process has another state, since it was asked at `since`.
    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of one message, which those who have a word need not fill in"
    )]
    pub fn update(
        &mut self,
        process: &Process,
        phase: Phase,
        state: ProcessState,
        message: &str,
        value: Bytes,
        traceback: &str,
        since: Instant,
    ) {
        let mut update = ProcessUpdate {
            process: Some(process.to_ref()),
            phase: phase.into(),
            state: state.into(),
            message: message.into(),
            value,
            traceback: traceback.into(),
            elapsed_ms: since.elapsed().as_millis() as u64,
        };
        let kept = ProcessUpdate {
            message: shortened(update.message.clone(), KEPT_BYTES_MAX),
            traceback: shortened(update.traceback.clone(), KEPT_BYTES_MAX),
            value: Bytes::new(),
            ..update.clone()
        };
        self.keep(process, kept);
        if self.unread.load(Ordering::Relaxed) > UNREAD_BYTES_MAX {
            if matches!(state, ProcessState::Delivered | ProcessState::Progress) {
                return;
            }
            if !update.value.is_empty() {
                update.message = format!(
                    "its answer of {} bytes is left out, as the caller does not read: ask fewer at a time",
                    update.value.len()
                );
                update.value.clear();
            }
            update.traceback.clear();
        }
        self.tell(Kind::Update(update));
    }

    /// The same, as a process said it.
    pub fn word(&mut self, process: &Process, phase: Phase, word: &Word, since: Instant) {
        let (state, message, value, traceback) = match word {
            Word::Delivered => (ProcessState::Delivered, "", Bytes::new(), ""),
            Word::Progress(text) => (ProcessState::Progress, &**text, Bytes::new(), ""),
            Word::Ok(value) => (ProcessState::Ok, "", value.clone(), ""),
            Word::Failed(error) => {
                let (message, traceback) = (&*error.message, &*error.traceback);
                (ProcessState::Error, message, Bytes::new(), traceback)
            }
            Word::Gone(why) => (ProcessState::Gone, &**why, Bytes::new(), ""),
            Word::TimedOut(why) => (ProcessState::Timeout, &**why, Bytes::new(), ""),
            Word::Skipped(why) => (ProcessState::Skipped, &**why, Bytes::new(), ""),
        };
        self.update(process, phase, state, message, value, traceback, since);
    }

    /// A process would be asked, and was not: so it stands at the end.
    pub fn expect(&mut self, process: &Process) {
        let update = ProcessUpdate {
            process: Some(process.to_ref()),
            state: ProcessState::Expected.into(),
            ..ProcessUpdate::default()
        };
        self.keep(process, update);
    }

    /// Lets this stand at the end as the last word on a process: one that was told, or the caller need not be told.
    pub fn keep(&mut self, process: &Process, update: ProcessUpdate) {
        let name = (process.service.clone(), process.instance.clone());
        self.last.insert(name, update);
    }

    /// Whether the caller is still there.
    pub fn is_heard(&self) -> bool {
        !self.to.is_closed()
    }

    /// The last word on a process so far, or on one before or after it.
    pub fn last(&self, process: &Process) -> Option<&ProcessUpdate> {
        let name = (process.service.clone(), process.instance.clone());
        self.last.get(&name)
    }

    /// Writes the end down, then tells it.
    pub async fn finish(self, outcome: ActionOutcome, message: &str) {
        let processes: Vec<_> = self.last.values().cloned().collect();
        let mut message = message.to_owned();
        if let Some(record) = &self.record
            && let Err(error) = record.end(outcome, &message, &processes).await
        {
            tracing::warn!(%error, "the end of an operator's action could not be written down");
            message = format!("{message} (its end could not be written down: {error})");
        }
        self.tell(Kind::Summary(ActionSummary {
            outcome: outcome.into(),
            message,
            processes,
        }));
    }

    fn tell(&self, kind: Kind) {
        let message = ManageResponse {
            header: Some(self.header.clone()),
            kind: Some(kind),
        };
        let bytes = message.encoded_len();
        self.unread.fetch_add(bytes, Ordering::Relaxed);
        // Who has left is told nothing.
        let _ = self.to.send(message);
    }
}

impl Told {
    /// The next message; `None` after the last.
    pub async fn next(&mut self) -> Option<ManageResponse> {
        let message = self.from.recv().await?;
        let bytes = message.encoded_len();
        self.unread.fetch_sub(bytes, Ordering::Relaxed);
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn teller() -> (Teller, Told) {
        Teller::begin(ResponseHeader::default(), "", &[], None)
    }

    async fn next_update(told: &mut Told) -> ProcessUpdate {
        match told.next().await.and_then(|message| message.kind) {
            Some(Kind::Update(update)) => update,
            other => panic!("told {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_caller_that_does_not_read_is_told_the_end_of_each_process_without_its_value() {
        let (mut teller, mut told) = teller();
        told.next().await.expect("it begins");
        let (now, process) = (Instant::now(), Process::example("a"));
        let large = Word::Ok(Bytes::from(vec![0; UNREAD_BYTES_MAX + 1]));
        teller.word(&process, Phase::Unspecified, &large, now);
        let progress = Word::Progress("half".into());
        teller.word(&process, Phase::Unspecified, &progress, now);
        teller.word(&process, Phase::Unspecified, &large, now);
        assert_eq!(
            next_update(&mut told).await.value.len(),
            UNREAD_BYTES_MAX + 1
        );
        let second = next_update(&mut told).await;
        assert_eq!((second.state(), second.value.len()), (ProcessState::Ok, 0));
        assert!(second.message.contains("does not read"), "{second:?}");
        // It has read: so it is told all again.
        teller.word(&process, Phase::Unspecified, &progress, now);
        assert_eq!(next_update(&mut told).await.state(), ProcessState::Progress);
    }

    #[tokio::test]
    async fn a_summary_has_the_last_word_on_each_by_name_and_no_value() {
        let (mut teller, mut told) = teller();
        let now = Instant::now();
        for (instance, word) in [
            ("b", Word::Delivered),
            ("a", Word::Ok(vec![0x01].into())),
            ("b", Word::Gone("lost".into())),
        ] {
            teller.word(&Process::example(instance), Phase::Unspecified, &word, now);
        }
        teller.finish(ActionOutcome::Failed, "so it ended").await;
        let mut summary = None;
        while let Some(message) = told.next().await {
            if let Some(Kind::Summary(last)) = message.kind {
                summary = Some(last);
            }
        }
        let summary = summary.expect("it has ended");
        assert_eq!(summary.message, "so it ended");
        let states: Vec<_> = summary.processes.iter().map(ProcessUpdate::state).collect();
        assert_eq!(states, [ProcessState::Ok, ProcessState::Gone]);
        assert!(summary.processes[0].value.is_empty());
    }
}

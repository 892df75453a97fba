//! Asking many processes, and telling how it goes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream, SelectAll},
};
use prost::Message;
use stillpoint_proto::v1::{
    ActionBegun, ActionOutcome, ActionSummary, ManageResponse, Phase, PhaseBegun, ProcessState,
    ProcessUpdate, ResponseHeader, manage_response::Kind,
};
use tokio::{sync::mpsc, time::Instant};

use super::{
    audit::Record,
    dispatch::{Conversation, Process, Word, ask},
};
use crate::service::session::{asked::shortened, hub::Hub};

/// How processes are asked.
#[derive(Clone, Debug)]
pub struct AskOptions {
    /// How many at a time. 0: all at once.
    pub parallel: usize,
    /// Begin with no further process once one has failed.
    pub stop_on_error: bool,
    /// Begin with no further process once the caller has left.
    pub stop_when_unheard: bool,
    /// How long each may take for its answer.
    pub timeout: Duration,
    /// Who asks.
    pub actor: String,
}

/// What one process says, from being asked to the last word.
pub type Words = BoxStream<'static, Word>;

/// Asks all of them, `parallel` at a time, and tells each word; gives the last word of each, in their order.
pub async fn ask_all(
    hub: &Arc<Hub>,
    teller: &mut Teller,
    phase: Phase,
    processes: &[Process],
    name: &str,
    arguments: impl Fn(&Process) -> Bytes,
    options: &AskOptions,
) -> Vec<(Process, Word)> {
    each(teller, phase, processes, options, |process| {
        let arguments = arguments(process);
        words(ask(
            hub,
            process,
            name,
            arguments,
            options.timeout,
            &options.actor,
        ))
    })
    .await
}

/// The words of a conversation.
pub fn words(conversation: Conversation) -> Words {
    let going_on = stream::unfold(Some(conversation), |conversation| async {
        let mut conversation = conversation?;
        let word = conversation.next().await;
        let rest = (!word.is_last()).then_some(conversation);
        Some((word, rest))
    });
    going_on.boxed()
}

/// Begins something with each of them, `parallel` at a time, and tells each word; gives the last word of each, in their
/// order.
pub async fn each(
    teller: &mut Teller,
    phase: Phase,
    processes: &[Process],
    options: &AskOptions,
    begin: impl Fn(&Process) -> Words,
) -> Vec<(Process, Word)> {
    let at_a_time = match options.parallel {
        0 => processes.len(),
        parallel => parallel,
    };
    let mut last: Vec<Option<Word>> = vec![None; processes.len()];
    let mut since = vec![Instant::now(); processes.len()];
    let mut all_words = SelectAll::new();
    let (mut next, mut under_way) = (0, 0);
    let mut stopped: Option<&str> = None;
    loop {
        if options.stop_when_unheard && !teller.is_heard() {
            stopped.get_or_insert("it was not asked: the caller had left");
        }
        while stopped.is_none() && next < processes.len() && under_way < at_a_time {
            let number = next;
            since[number] = Instant::now();
            let words = begin(&processes[number]);
            all_words.push(words.map(move |word| (number, word)).boxed());
            next += 1;
            under_way += 1;
        }
        // None: nothing is under way, and nothing more to begin with.
        let Some((number, word)) = all_words.next().await else {
            break;
        };
        teller.word(&processes[number], phase, &word, since[number]);
        if word.is_last() {
            under_way -= 1;
            if options.stop_on_error && !word.is_ok() {
                stopped.get_or_insert("it was not asked: one before it had failed");
            }
            last[number] = Some(word);
        }
    }
    let answered = processes.iter().zip(last).zip(since);
    let answered = answered.map(|((process, word), since)| {
        let word = word.unwrap_or_else(|| {
            let why = stopped.unwrap_or("it was not asked");
            let word = Word::Skipped(why.into());
            teller.word(process, phase, &word, since);
            word
        });
        (process.clone(), word)
    });
    answered.collect()
}

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

/// Processes that a summary's sentence names.
const NAMED_MAX: usize = 8;

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

    fn keep(&mut self, process: &Process, update: ProcessUpdate) {
        let name = (process.service.clone(), process.instance.clone());
        self.last.insert(name, update);
    }

    /// Whether the caller is still there.
    pub fn is_heard(&self) -> bool {
        !self.to.is_closed()
    }

    /// The last word on each process so far, by service and instance.
    pub fn last(&self) -> impl Iterator<Item = &ProcessUpdate> {
        self.last.values()
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

/// How something went that was done with each process for itself: the outcome, and a sentence that names those that did not
/// do it.
pub fn conclude(done: &str, words: &[(Process, Word)]) -> (ActionOutcome, String) {
    let ok = words.iter().filter(|(_, word)| word.is_ok()).count();
    let mut message = format!("{ok} of {} {done}", words.len());
    let mut others = 0;
    for (name, is) in [
        (
            "failed",
            (|word| matches!(word, Word::Failed(_))) as fn(&Word) -> bool,
        ),
        ("did not answer in time", |word| {
            matches!(word, Word::TimedOut(_))
        }),
        ("are gone", |word| matches!(word, Word::Gone(_))),
        ("were not asked", |word| matches!(word, Word::Skipped(_))),
    ] {
        let mut found = words.iter().filter(|(_, word)| is(word)).peekable();
        if found.peek().is_none() {
            continue;
        }
        let names: Vec<_> = found.map(|(process, _)| process.identity()).collect();
        others += names.len();
        let more = match names.len() {
            n if n > NAMED_MAX => format!(" and {} more", n - NAMED_MAX),
            _ => String::new(),
        };
        let names = names[..names.len().min(NAMED_MAX)].join(", ");
        message.push_str(&format!("; {name}: {names}{more}"));
    }
    let outcome = match others {
        0 => ActionOutcome::Ok,
        _ => ActionOutcome::Failed,
    };
    (outcome, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::session::SessionKey;

    fn process(instance: &str) -> Process {
        Process {
            key: SessionKey {
                namespace: "world".into(),
                id: "battle/x/1".into(),
            },
            service: "battle".into(),
            instance: instance.into(),
            fence: 7,
            code_version: String::new(),
            attached: true,
        }
    }

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
        let (now, process) = (Instant::now(), process("a"));
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
            teller.word(&process(instance), Phase::Unspecified, &word, now);
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

    #[test]
    fn a_conclusion_names_those_who_did_not_and_not_too_many_of_them() {
        let word = |number: usize| match number {
            0 => Word::Ok(Bytes::new()),
            1 => Word::failed("no"),
            _ => Word::TimedOut("silent".into()),
        };
        let words: Vec<_> = (0..12)
            .map(|n| (process(&n.to_string()), word(n)))
            .collect();
        let (outcome, message) = conclude("have done it", &words);
        assert_eq!(outcome, ActionOutcome::Failed);
        assert_eq!(
            message,
            "1 of 12 have done it; failed: battle/1; did not answer in time: battle/2, battle/3, battle/4, battle/5, \
             battle/6, battle/7, battle/8, battle/9 and 2 more"
        );
        assert_eq!(conclude("are over", &words[..1]).0, ActionOutcome::Ok);
    }
}

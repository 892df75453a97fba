//! Asking many processes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream, SelectAll},
};
use stillpoint_proto::v1::{ActionOutcome, Phase};
use tokio::time::Instant;

use super::dispatch::{Conversation, Process, Word, ask};
pub use super::teller::{Teller, Told};
use crate::service::session::hub::Hub;

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

/// Processes that a summary's sentence names.
const NAMED_MAX: usize = 8;

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

    #[test]
    fn a_conclusion_names_those_who_did_not_and_not_too_many_of_them() {
        let word = |number: usize| match number {
            0 => Word::Ok(Bytes::new()),
            1 => Word::failed("no"),
            _ => Word::TimedOut("silent".into()),
        };
        let words: Vec<_> = (0..12)
            .map(|n| (Process::example(&n.to_string()), word(n)))
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

//! Answers to the operator's commands, on their way up the control stream.
//!
//! A command is *awaited* from its coming until its last answer, or until the stream is lost that it came on: the server
//! then reports it as gone, and whatever is said of it later is nobody's.

use std::collections::VecDeque;

use prost::Message;
use rustc_hash::FxHashSet;
use stillpoint_proto::v1::{CommandAnswer, Delivered, command_answer::Kind};

/// Bytes of waiting answers beyond which words of progress are left out. Last answers never are: there is one for each
/// awaited command, of which the server bounds the number.
const PROGRESS_BYTES_MAX: usize = 256 * 1024;

/// Commands that are awaited, and what was answered and not sent.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    awaited: FxHashSet<u64>,
    queue: VecDeque<CommandAnswer>,
    bytes: usize,
}

impl Answers {
    /// A command has come, and will be told to the program.
    pub fn received(&mut self, command_id: u64) {
        self.awaited.insert(command_id);
        self.push(command_id, Kind::Delivered(Delivered {}));
    }

    /// Whether anybody waits for an answer to this command.
    pub fn is_awaited(&self, command_id: u64) -> bool {
        self.awaited.contains(&command_id)
    }

    /// How a command goes on; false: nobody waits for that.
    pub fn answer(&mut self, command_id: u64, kind: Kind) -> bool {
        if !self.is_awaited(command_id) {
            return false;
        }
        match kind {
            Kind::Delivered(_) => {}
            Kind::Progress(_) if self.bytes > PROGRESS_BYTES_MAX => {}
            Kind::Progress(_) => self.push(command_id, kind),
            Kind::Value(_) | Kind::Error(_) => {
                self.awaited.remove(&command_id);
                self.push(command_id, kind);
            }
        }
        true
    }

    /// The next to send.
    pub fn pop(&mut self) -> Option<CommandAnswer> {
        let answer = self.queue.pop_front()?;
        self.bytes -= answer.encoded_len();
        Some(answer)
    }

    /// Whether all is sent.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The stream is lost, and with it whoever waited.
    pub fn clear(&mut self) {
        *self = Answers::default();
    }

    fn push(&mut self, command_id: u64, kind: Kind) {
        let answer = CommandAnswer {
            command_id,
            kind: Some(kind),
        };
        self.bytes += answer.encoded_len();
        self.queue.push_back(answer);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn kinds(answers: &mut Answers) -> Vec<Kind> {
        std::iter::from_fn(|| answers.pop())
            .filter_map(|answer| answer.kind)
            .collect()
    }

    #[test]
    fn a_command_is_answered_to_its_last_answer_and_not_after_it() {
        let mut answers = Answers::default();
        answers.received(7);
        let half = Kind::Progress("half".into());
        let value = Kind::Value(Bytes::from_static(&[1]));
        assert!(!answers.answer(8, value.clone()), "of an unknown command");
        assert!(answers.answer(7, half.clone()));
        assert!(answers.answer(7, value.clone()));
        assert!(!answers.answer(7, half.clone()));
        assert!(!answers.is_awaited(7));
        assert_eq!(
            kinds(&mut answers),
            [Kind::Delivered(Delivered {}), half, value]
        );
        assert!(answers.is_empty());
    }

    #[test]
    fn who_floods_with_progress_loses_progress_and_no_last_answer() {
        let mut answers = Answers::default();
        answers.received(7);
        for _ in 0..10_000 {
            assert!(answers.answer(7, Kind::Progress("x".repeat(1000))));
        }
        assert!(answers.bytes < 2 * PROGRESS_BYTES_MAX);
        assert!(answers.answer(7, Kind::Value(Bytes::new())));
        assert_eq!(kinds(&mut answers).pop(), Some(Kind::Value(Bytes::new())));
        assert_eq!(answers.bytes, 0);
    }

    #[test]
    fn nobody_waits_after_the_stream_is_lost() {
        let mut answers = Answers::default();
        answers.received(7);
        answers.clear();
        assert!(answers.is_empty());
        assert!(!answers.answer(7, Kind::Value(Bytes::new())));
    }
}

//! The answers, one line each as they come, with a traceback below where there is one.

use stillpoint_proto::v1::{ActionBegun, ProcessState, ProcessUpdate};

use super::{
    report::Report,
    words::{is_last, name_of, process_name, state_word, time, value_of},
};
use crate::json;

/// Room for a time such as `1s 200ms`.
const TIME_WIDTH: usize = 8;

/// Room for the longest last state.
const STATE_WIDTH: usize = "TIMEOUT".len();

/// One line for each process.
#[derive(Debug, Default)]
pub struct Answers {
    /// Of the longest name: all are known at the beginning, so that lines that come one by one still are columns.
    name_width: usize,
    has_header: bool,
}

impl Report for Answers {
    fn begun(&mut self, begun: &ActionBegun) -> String {
        self.name_width = name_width(begun);
        String::new()
    }

    fn update(&mut self, update: &ProcessUpdate) -> String {
        if !is_last(update.state()) {
            return String::new();
        }
        let mut text = String::new();
        if !self.has_header {
            self.has_header = true;
            text = header(self.name_width);
        }
        text + &answer(self.name_width, update)
    }
}

/// Room for the name of each process that is expected.
pub fn name_width(begun: &ActionBegun) -> usize {
    let names = begun.expected.iter().map(|p| process_name(p).len());
    names.max().unwrap_or(0).max("PROCESS".len())
}

/// What stands above the lines of [`answer`].
pub fn header(name_width: usize) -> String {
    row(name_width, "PROCESS", "STATE", "TIME", "ANSWER")
}

/// The last word on a process: its line, and its traceback.
pub fn answer(name_width: usize, update: &ProcessUpdate) -> String {
    let mut told = vec![update.message.clone()];
    if update.state() == ProcessState::Ok && !update.value.is_empty() {
        told.push(json::to_string(&value_of(update), false));
    }
    told.retain(|part| !part.is_empty());
    let told = told.join(" ");
    let (first, rest) = told.split_once('\n').unwrap_or((&told, ""));
    let line = row(
        name_width,
        &name_of(update),
        state_word(update.state()),
        &time(update.elapsed_ms),
        first,
    );
    let traceback = match update.message.contains(&update.traceback) {
        true => "",
        false => &update.traceback,
    };
    line + &indented(rest) + &indented(traceback)
}

fn row(name_width: usize, name: &str, state: &str, time: &str, told: &str) -> String {
    let row = format!("{name:name_width$}  {state:STATE_WIDTH$}  {time:>TIME_WIDTH$}  {told}");
    format!("{}\n", row.trim_end())
}

fn indented(text: &str) -> String {
    text.lines()
        .map(|line| format!("    {}\n", line.trim_end()))
        .collect()
}

#[cfg(test)]
mod tests {
    use stillpoint_proto::v1::ProcessRef;

    use super::*;

    fn process(instance: &str) -> ProcessRef {
        ProcessRef {
            service: "battle".into(),
            instance: instance.into(),
            ..ProcessRef::default()
        }
    }

    fn update(instance: &str, state: ProcessState) -> ProcessUpdate {
        ProcessUpdate {
            process: Some(process(instance)),
            state: state.into(),
            elapsed_ms: 3,
            ..ProcessUpdate::default()
        }
    }

    #[test]
    fn answers_are_columns_although_they_come_one_by_one() {
        let mut answers = Answers::default();
        answers.begun(&ActionBegun {
            expected: vec![process("b-1"), process("b-10")],
            ..ActionBegun::default()
        });
        let delivered = update("b-1", ProcessState::Delivered);
        assert_eq!(answers.update(&delivered), "", "it is not over");
        let ok = ProcessUpdate {
            value: vec![0x93, 1, 2, 3].into(),
            ..update("b-1", ProcessState::Ok)
        };
        assert_eq!(
            answers.update(&ok),
            "PROCESS      STATE        TIME  ANSWER\nbattle/b-1   OK            3ms  [1,2,3]\n"
        );
        let timeout = ProcessUpdate {
            message: "has the command and does not answer".into(),
            elapsed_ms: 10_000,
            ..update("b-10", ProcessState::Timeout)
        };
        assert_eq!(
            answers.update(&timeout),
            "battle/b-10  TIMEOUT       10s  has the command and does not answer\n"
        );
    }

    #[test]
    fn a_traceback_stands_below_its_process() {
        let error = ProcessUpdate {
            message: "game/shop.lua:14: boom\nand more".into(),
            traceback: "stack traceback:\n\t[C]: in error".into(),
            ..update("b", ProcessState::Error)
        };
        assert_eq!(
            answer(8, &error),
            "battle/b  ERROR         3ms  game/shop.lua:14: boom\n    and more\n    stack traceback:\n    \t[C]: in error\n"
        );
    }

    #[test]
    fn a_traceback_that_says_no_more_than_the_message_is_left_out() {
        let error = ProcessUpdate {
            message: "compile: game/shop.lua:1: syntax error".into(),
            traceback: "game/shop.lua:1: syntax error".into(),
            ..update("b", ProcessState::Error)
        };
        assert_eq!(answer(8, &error).lines().count(), 1);
    }

    #[test]
    fn the_keys_of_a_table_are_in_order() {
        let ok = ProcessUpdate {
            value: b"\x82\xa1b\x01\xa1a\x81\xa1d\x02"[..].into(),
            elapsed_ms: 0,
            ..update("b", ProcessState::Ok)
        };
        let told = answer(8, &ok);
        assert!(told.ends_with("0ms  {\"a\":{\"d\":2},\"b\":1}\n"), "{told}");
    }

    #[test]
    fn bytes_that_are_no_value_are_shown_all_the_same() {
        let odd = ProcessUpdate {
            value: vec![0x93, 1].into(),
            ..update("b", ProcessState::Ok)
        };
        assert_eq!(
            answer(8, &odd),
            "battle/b  OK            3ms  {\"$bin\":\"kwE=\"}\n"
        );
    }
}

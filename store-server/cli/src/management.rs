//! What the operator asks of running processes: whom, how, and how it goes.
//!
//! Every such command is one call to the store, which asks the processes and tells each word as it comes:
//!
//! - [`selection`]: which processes. [`options`]: how long, how many at a time, in whose name.
//! - [`follow`]: makes the call, hands each word to a [`report::Report`], and sees to Ctrl-C.
//! - [`report`]: what is printed of each word; [`answers`] for people, [`events`] for programs, [`expected`] of a dry
//!   run. The fleet reload has reports of its own, beside its command.
//! - [`verdict`]: the sentence at the end, and the exit code.
//! - [`words`]: processes, states and values as people and programs see them.

pub mod answers;
pub mod confirm;
pub mod events;
pub mod expected;
pub mod follow;
pub mod options;
pub mod report;
pub mod selection;
pub mod verdict;
pub mod words;

/// The exit codes of these commands, for their help.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  every process did it
  1  something failed, or it was interrupted
  2  the command line is wrong
  3  processes run different programs, or it is not known what some run
  4  there is no such process";

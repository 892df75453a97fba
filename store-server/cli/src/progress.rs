//! The progress line of long commands, on stderr, where a person sees it.

use indicatif::{ProgressBar, ProgressStyle};

/// Counts records, whose number is not known beforehand.
pub fn records(verb: &str) -> ProgressBar {
    let style = "{prefix} {human_pos} records, {per_sec}, {elapsed} {spinner}";
    styled(ProgressBar::new_spinner(), verb, style)
}

/// Counts the bytes of a file.
pub fn bytes(verb: &str, len: u64) -> ProgressBar {
    let style = "{prefix} [{bar:30}] {binary_bytes} of {binary_total_bytes}, {eta} left";
    styled(ProgressBar::new(len), verb, style)
}

/// Counts steps, saying which one it is at.
pub fn steps(verb: &str, count: u64) -> ProgressBar {
    let style = "{prefix} [{bar:30}] {human_pos} of {human_len}, {eta} left {msg}";
    styled(ProgressBar::new(count), verb, style)
}

/// Counts the records of a backup, saying what is done and how fast.
pub fn backup(verb: &str) -> ProgressBar {
    let style = "{prefix} [{bar:30}] {human_pos} of {human_len} records, {msg}, {eta} left";
    styled(ProgressBar::new(0), verb, style)
}

/// Counts processes, whose number is told later, saying what one is at.
pub fn processes(verb: &str) -> ProgressBar {
    let style = "{prefix} [{bar:30}] {human_pos} of {human_len} {msg}";
    styled(ProgressBar::new(0), verb, style)
}

fn styled(bar: ProgressBar, verb: &str, style: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(style).expect("the template is well formed");
    bar.with_style(style.progress_chars("=> "))
        .with_prefix(verb.to_owned())
}

/// A line of text that changes.
pub fn text() -> ProgressBar {
    styled(ProgressBar::new_spinner(), "", "{msg}")
}

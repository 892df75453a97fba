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

/// Says what is done and for how long; [`with_end`] says more where the end is known.
pub fn work(verb: &str) -> ProgressBar {
    styled(ProgressBar::new(0), verb, "{prefix} {msg}, {elapsed}")
}

/// The same, where the end is known or not: a bar, or the time since the beginning.
pub fn with_end(bar: &ProgressBar, is_known: bool) {
    let style = match is_known {
        true => "{prefix} [{bar:30}] {msg}",
        false => "{prefix} {msg}, {elapsed}",
    };
    bar.set_style(with_template(style));
}

/// Counts processes, whose number is told later, saying what one is at.
pub fn processes(verb: &str) -> ProgressBar {
    let style = "{prefix} [{bar:30}] {human_pos} of {human_len} {msg}";
    styled(ProgressBar::new(0), verb, style)
}

fn styled(bar: ProgressBar, verb: &str, style: &str) -> ProgressBar {
    bar.with_style(with_template(style))
        .with_prefix(verb.to_owned())
}

fn with_template(style: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(style).expect("the template is well formed");
    style.progress_chars("=> ")
}

/// A line of text that changes.
pub fn text() -> ProgressBar {
    styled(ProgressBar::new_spinner(), "", "{msg}")
}

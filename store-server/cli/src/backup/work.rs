//! Doing what the library does, with a progress line, until Ctrl-C.

use std::{
    future::Future,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use stillpoint_store_server::backup::{BackupError, Phase, Progress};

use crate::{
    failure::Failure, interrupt::Interrupt, output::harmless, progress, settings::kind::size_text,
};

/// How long Ctrl-C may wait for us.
const TICK: Duration = Duration::from_millis(20);

/// Runs a piece of work to its end. Ctrl-C drops it, so that it cleans up behind itself; a second one ends the program at
/// once.
pub fn run<T>(work: impl Future<Output = Result<T, BackupError>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Runtime::new()?;
    let interrupt = Interrupt::listen()?;
    let told = async {
        while !interrupt.is_told() {
            tokio::time::sleep(TICK).await;
        }
    };
    runtime.block_on(async {
        tokio::select! {
            done = work => Ok(done?),
            () = told => Err(Failure::operation("interrupted")),
        }
    })
}

/// What a backup or a restore does first.
pub const RECORDS: &str = "records";

/// The progress line of a backup, a restore or a check: what is done, how much of how much, how fast, and the time left. What
/// is not known is left out.
#[derive(Debug)]
pub struct Meter {
    bar: ProgressBar,
    /// When the first bytes were told, and how many. A pull that goes on has many.
    begun: OnceLock<(Instant, u64)>,
    /// The bar is shown.
    is_measured: AtomicBool,
}

impl Meter {
    /// A line that begins with this verb.
    pub fn new(verb: &str) -> Self {
        let bar = progress::work(verb);
        bar.set_message("begins");
        Meter {
            bar,
            begun: OnceLock::new(),
            is_measured: AtomicBool::new(false),
        }
    }

    /// How far it is, as the library tells it.
    pub fn tell(&self, progress: &Progress) {
        let doing = match progress.phase {
            Phase::Records => RECORDS,
            Phase::Log => "log",
            Phase::Checking => "checksums",
            Phase::Finishing => "finishing",
        };
        self.show(doing, progress.bytes, progress.bytes_total);
    }

    /// Says something above the line.
    pub fn note(&self, text: &str) {
        self.bar.suspend(|| eprintln!("note: {}", harmless(text)));
    }

    /// How far it is, in words.
    pub fn say(&self, doing: &str) {
        if self.is_measured.swap(false, Ordering::Relaxed) {
            progress::with_end(&self.bar, false);
        }
        self.bar.set_message(doing.to_owned());
    }

    /// Prints while the line is out of the way.
    pub fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// How far it is: what is being done, bytes of about so many; 0: not known.
    pub fn show(&self, doing: &str, bytes: u64, bytes_total: u64) {
        let (begun, before) = *self.begun.get_or_init(|| (Instant::now(), bytes));
        let is_measured = bytes_total > 0;
        if self.is_measured.swap(is_measured, Ordering::Relaxed) != is_measured {
            progress::with_end(&self.bar, is_measured);
        }
        self.bar.set_length(bytes_total.max(bytes));
        self.bar.set_position(bytes);
        let seconds = begun.elapsed().as_secs_f64();
        let rate = bytes.saturating_sub(before) as f64 / seconds.max(0.001);
        self.bar
            .set_message(format!("{doing}: {}", words(bytes, bytes_total, rate)));
    }
}

/// How much was done of how much, at so many bytes a second, and the time left.
fn words(bytes: u64, bytes_total: u64, rate: f64) -> String {
    let mut words = size_text(bytes);
    if bytes_total > 0 {
        words += &format!(" of about {}", size_text(bytes_total.max(bytes)));
    }
    // Before anything was done, nothing can be said.
    if rate >= 1.0 {
        words += &format!(", {}/s", size_text(rate as u64));
        let seconds = bytes_total.saturating_sub(bytes) as f64 / rate;
        if bytes_total > 0 {
            let left = Duration::from_secs(seconds.ceil() as u64);
            words += &format!(", {} left", humantime::format_duration(left));
        }
    }
    words
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_told_where_the_end_and_the_rate_are_known() {
        const MIB: u64 = 1 << 20;
        for (bytes, total, rate, told) in [
            (0, 0, 0.0, "0 B"),
            (MIB, 0, 2.0 * MIB as f64, "1 MiB, 2 MiB/s"),
            (0, 8 * MIB, 0.0, "0 B of about 8 MiB"),
            (
                MIB,
                8 * MIB,
                MIB as f64,
                "1 MiB of about 8 MiB, 1 MiB/s, 7s left",
            ),
            (
                10 * MIB,
                8 * MIB,
                MIB as f64,
                "10 MiB of about 10 MiB, 1 MiB/s, 0s left",
            ),
        ] {
            assert_eq!(words(bytes, total, rate), told);
        }
    }
}

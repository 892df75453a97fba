//! Doing what the library does, with a progress line, until Ctrl-C.

use std::{
    future::Future,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use stillpoint_store_server::backup::{BackupError, Phase, Progress};

use crate::{failure::Failure, interrupt::Interrupt, progress, settings::kind::size_text};

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

/// What is done while the end is known.
pub const RECORDS: &str = "records";

/// The progress line of a backup, a restore or a check. How much there is to do is known of records only: while they are
/// copied there is a bar with the time left, at other times what was done and how fast.
#[derive(Debug)]
pub struct Meter {
    bar: ProgressBar,
    begun: Instant,
    /// The bar is shown.
    is_counting: AtomicBool,
}

impl Meter {
    /// A line that begins with this verb.
    pub fn new(verb: &str) -> Self {
        let bar = progress::work(verb);
        bar.set_message("begins");
        Meter {
            bar,
            begun: Instant::now(),
            is_counting: AtomicBool::new(false),
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
        self.show(
            doing,
            progress.records,
            progress.records_total,
            progress.bytes,
        );
    }

    /// How far it is: what is being done, records of about so many, bytes.
    pub fn show(&self, doing: &str, records: u64, records_total: u64, bytes: u64) {
        let is_counting = doing == RECORDS && records > 0;
        if self.is_counting.swap(is_counting, Ordering::Relaxed) != is_counting {
            progress::with_end(&self.bar, is_counting);
        }
        self.bar.set_length(records_total.max(records));
        self.bar.set_position(records);
        let rate = bytes as f64 / self.begun.elapsed().as_secs_f64().max(0.001);
        let done = format!("{}, {}/s", size_text(bytes), size_text(rate as u64));
        self.bar.set_message(match is_counting {
            true => done,
            false => format!("{doing}: {done}"),
        });
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

//! Checkpoints that are taken while the store works, on a thread of its own; one at a time.

use std::{
    sync::{Arc, atomic::Ordering},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use rustix::process::setpriority_process;

use super::{Checkpoint, CheckpointError, Found, take::take_live};
use crate::store::{clock::now_ms, shared::Shared};

/// The checkpoint being taken, and when the next one is due.
#[derive(Debug)]
pub struct Background {
    thread: Mutex<Option<JoinHandle<()>>>,
    pub(super) stop: Stop,
    due: Mutex<Due>,
}

/// When the next one is due, but for the volume of the log.
#[derive(Debug)]
struct Due {
    /// There is none that this program has taken, or it cannot be read.
    now: bool,
    /// When the last one was begun.
    begun: Instant,
    /// When the last one failed.
    failed: Option<Instant>,
}

/// A checkpoint that failed is tried again after this time.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// How much less of a processor than the rest of the store its thread gets where there are too few.
const NICENESS: i32 = 10;

impl Background {
    /// Nothing is being taken, and these there are.
    pub fn new(found: &Found) -> Background {
        let (now, begun_ms) = match &found.newest {
            Some(Checkpoint::Archive(manifest)) => (false, manifest.begun_ms),
            Some(Checkpoint::Old { .. }) => (true, 0),
            None => (false, now_ms()),
        };
        let age = Duration::from_millis(now_ms().saturating_sub(begun_ms));
        Background {
            thread: Mutex::default(),
            stop: Stop::default(),
            due: Mutex::new(Due {
                now: now || found.damaged.is_some(),
                // The system may have been up for less than that: then it is the next start that counts on.
                begun: (Instant::now().checked_sub(age)).unwrap_or_else(Instant::now),
                failed: None,
            }),
        }
    }

    /// Whether one is to be taken whatever the volume of the log is: for the last one is `secs` old and does not have
    /// everything (0: however old it is), or failed.
    pub fn is_due(&self, secs: u64, has_everything: bool) -> bool {
        let due = self.due.lock();
        let is_old = secs > 0 && !has_everything && due.begun.elapsed().as_secs() >= secs;
        due.now || is_old || due.failed.is_some_and(|at| at.elapsed() >= RETRY_AFTER)
    }

    /// Begins to take a checkpoint, unless one is being taken; whether it did.
    pub fn start(&self, shared: &Arc<Shared>) -> bool {
        let mut thread = self.thread.lock();
        if thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return false;
        }
        *self.due.lock() = Due {
            now: false,
            begun: Instant::now(),
            failed: None,
        };
        let worker = shared.clone();
        let work = move || take_in_background(&worker);
        let started = thread::Builder::new().name("checkpoint".into()).spawn(work);
        match started {
            Ok(started) => *thread = Some(started),
            Err(error) => self.failed(&CheckpointError::Io {
                path: shared.dir.checkpoint(),
                source: error,
            }),
        }
        thread.is_some()
    }

    /// Gives up a checkpoint that is being taken, and waits for that.
    pub fn stop(&self) {
        self.stop.tell();
        if let Some(thread) = self.thread.lock().take() {
            // One that panicked took no checkpoint, which harms nothing.
            let _ = thread.join();
        }
    }

    fn failed(&self, error: &CheckpointError) {
        self.due.lock().failed = Some(Instant::now());
        tracing::error!(%error, "cannot take a checkpoint; the log keeps growing until one succeeds");
    }
}

fn take_in_background(shared: &Arc<Shared>) {
    // Of this thread only. One that may not be slower is as good.
    let _ = setpriority_process(None, NICENESS);
    let begun = Instant::now();
    match take_live(shared) {
        Ok(Some(manifest)) => {
            let seq = manifest.last_seq;
            shared.checkpoint_seq.store(seq, Ordering::Release);
            tracing::info!(
                seq,
                records = manifest.records,
                bytes = manifest.stored_bytes(),
                secs = begun.elapsed().as_secs_f32(),
                "took a checkpoint"
            );
        }
        Ok(None) => {}
        Err(error) => shared.checkpoint.failed(&error),
    }
}

/// Tells a thread to stop, also while it waits.
#[derive(Debug, Default)]
pub struct Stop {
    told: Mutex<bool>,
    telling: Condvar,
}

impl Stop {
    fn tell(&self) {
        *self.told.lock() = true;
        self.telling.notify_all();
    }

    /// Waits until then, or until it is told to stop; whether it was.
    pub fn wait_until(&self, then: Instant) -> bool {
        let mut told = self.told.lock();
        self.telling
            .wait_while_until(&mut told, |told| !*told, then);
        *told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_SECS: u64 = 3600;

    /// As after a start, where the last one was begun so long ago.
    fn taken(secs_ago: u64) -> Background {
        let mut background = Background::new(&Found::default());
        let begun = Instant::now().checked_sub(Duration::from_secs(secs_ago));
        background.due.get_mut().begun = begun.expect("the machine is up for longer");
        background
    }

    #[test]
    fn one_is_due_when_the_last_one_is_old_and_does_not_have_everything() {
        for (secs_ago, secs, has_everything, is_due) in [
            (10, 5, false, true),
            (10, 5, true, false),
            (10, HOUR_SECS, false, false),
            (10, 0, false, false),
        ] {
            let found = taken(secs_ago).is_due(secs, has_everything);
            assert_eq!(found, is_due, "{secs_ago} {secs} {has_everything}");
        }
    }

    #[test]
    fn one_that_an_older_program_has_taken_or_that_cannot_be_read_is_replaced_at_once() {
        let old = Found {
            newest: Some(Checkpoint::Old {
                seq: 7,
                path: "7.checkpoint".into(),
            }),
            damaged: None,
        };
        let damaged = Found {
            newest: None,
            damaged: Some(super::super::damaged(
                "checkpoint".as_ref(),
                "m".as_ref(),
                "",
            )),
        };
        for found in [old, damaged] {
            assert!(Background::new(&found).is_due(0, true));
        }
        assert!(!Background::new(&Found::default()).is_due(0, true));
    }

    #[test]
    fn one_that_failed_is_tried_again_but_not_at_once() {
        let background = taken(0);
        background.failed(&super::super::damaged(
            "checkpoint".as_ref(),
            "m".as_ref(),
            "",
        ));
        assert!(!background.is_due(0, false));
        background.due.lock().failed = Instant::now().checked_sub(RETRY_AFTER);
        assert!(background.is_due(0, false));
    }

    #[test]
    fn who_waits_is_told_to_stop() {
        let stop = &Stop::default();
        assert!(!stop.wait_until(Instant::now()));
        thread::scope(|scope| {
            let far = Instant::now() + Duration::from_secs(HOUR_SECS);
            let waiting = scope.spawn(move || stop.wait_until(far));
            stop.tell();
            assert!(waiting.join().expect("it ends"));
        });
    }
}

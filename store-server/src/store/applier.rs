//! Brings what was published into the engine, on a thread of its own, off the answer's path.

use std::{
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{shared::Shared, thread, view::Frozen};

/// The writer's end of the applier thread. One portion at a time.
#[derive(Debug)]
pub struct Applier {
    work: Sender<Arc<Frozen>>,
    done: Receiver<()>,
    busy: bool,
    thread: JoinHandle<()>,
}

impl Applier {
    /// Starts the thread.
    pub fn start_thread(shared: Arc<Shared>) -> std::io::Result<Applier> {
        let (work, portions) = bounded::<Arc<Frozen>>(1);
        let (report, done) = bounded(1);
        let thread = thread::start("applier", move || {
            for frozen in portions {
                match shared.view.apply(&frozen) {
                    Ok(()) => shared.applied_seq.store(frozen.seq(), Ordering::Release),
                    Err(error) => shared.gate.fail(format!(
                        "{error}; the log is whole: stop the server and run `stillpoint repair --rebuild-view`"
                    )),
                }
                if report.send(()).is_err() {
                    break;
                }
            }
        })?;
        Ok(Applier {
            work,
            done,
            busy: false,
            thread,
        })
    }

    /// Whether a portion is on its way.
    pub fn is_busy(&mut self) -> bool {
        self.busy = self.busy && self.done.try_recv().is_err();
        self.busy
    }

    /// Applies a portion. The one before must be done.
    pub fn start(&mut self, frozen: Arc<Frozen>) {
        self.busy = self.work.send(frozen).is_ok();
    }

    /// Waits until nothing is on its way.
    pub fn wait(&mut self) {
        if self.busy {
            // An error means that the thread is gone, so nothing is on its way.
            let _ = self.done.recv();
            self.busy = false;
        }
    }

    /// Waits until nothing is on its way, and ends the thread.
    pub fn stop(mut self) {
        self.wait();
        drop(self.work);
        // It cannot have panicked: that would have ended the process.
        let _ = self.thread.join();
    }
}

//! The store's own threads.

use std::{
    io, process,
    thread::{self, JoinHandle},
};

/// Starts a thread that the store cannot do without. If it panics the whole process ends: what it left half done in
/// memory must not be served, and the next start recovers from the log.
pub fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.into()).spawn(move || {
        let guard = EndOnPanic;
        work();
        drop(guard);
    })
}

struct EndOnPanic;

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!(
                thread = thread::current().name(),
                "a thread of the store panicked: the server ends; start it again"
            );
            process::abort();
        }
    }
}

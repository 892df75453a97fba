//! A store on its way out: it takes no writes any more, and lets go of its directory.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::handle::Store;
use crate::engine;

/// A store that takes no writes, until this is dropped.
#[derive(Debug)]
pub(crate) struct Paused(Option<Store>);

impl Paused {
    /// It takes none any more, as long as it is open.
    pub fn for_good(mut self) {
        self.0 = None;
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        if let Some(store) = &self.0 {
            store.shared.gate.set_paused(None);
        }
    }
}

/// How long what still reads a store that is closed may take to let go of it, ...
const LET_GO: Duration = Duration::from_secs(30);

/// ... and how often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

impl Store {
    /// Takes no writes from now on, for this reason; the caller sees to it that only one at a time does so.
    pub(crate) fn pause_writes(&self, reason: String) -> Paused {
        self.shared.gate.set_paused(Some(reason));
        Paused(Some(self.clone()))
    }

    /// Closes the store, and waits until nothing has it open any more, so that its directory can be moved: what wrote to it
    /// now would write to another's. Blocks; whether that came about.
    pub(crate) fn retire(self) -> bool {
        self.close();
        let view = self.shared.dir.view();
        let config = self.shared.config.view.clone();
        let shared = Arc::downgrade(&self.shared);
        drop(self);
        let until = Instant::now() + LET_GO;
        while shared.strong_count() > 0 {
            if Instant::now() >= until {
                return false;
            }
            thread::sleep(LOOK_EVERY);
        }
        match engine::wait_until_free(&view, &config) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, "the view is not let go of");
                false
            }
        }
    }
}

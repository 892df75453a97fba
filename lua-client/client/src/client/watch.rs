//! Watches.

use std::time::{Duration, Instant};

use stillpoint_proto::v1::{self, StoreError};

use super::Client;
use crate::{ledger::Want, spin::Wait, watch::Heard};

impl Client {
    /// Begins to watch, and returns the watch's id; the client fills in the request's context. The watch goes on by itself
    /// when a connection is lost: what there is to take has every revision once, in order, and every commit whole.
    ///
    /// After a loss within a resync the resync begins anew, which makes void what was told of it before.
    pub fn watch(&self, request: v1::WatchRequest) -> Result<u64, StoreError> {
        self.driver()?.watch(request)
    }

    /// The watch's next message, without driving. `None`: there is nothing yet. An error is its end, and what every watch has
    /// that is over.
    pub fn watch_take(&self, id: u64) -> Option<Heard> {
        match self.driver() {
            Ok(driver) => driver.shared.ledger.lock().watch_take(id),
            Err(error) => Some(Err(error)),
        }
    }

    /// The watch's next message, waiting for it. `None`: there was none within `timeout`.
    pub fn watch_wait(&self, id: u64, timeout: Duration) -> Option<Heard> {
        let driver = match self.driver() {
            Ok(driver) => driver,
            Err(error) => return Some(Err(error)),
        };
        let until = Instant::now().checked_add(timeout);
        driver.drive(Want::Watch(id), Wait::Long, until, |ledger| {
            ledger.watch_take(id)
        })
    }

    /// Ends a watch; what it had is dropped.
    pub fn unwatch(&self, id: u64) {
        if let Ok(driver) = self.driver() {
            driver.unwatch(id);
        }
    }
}

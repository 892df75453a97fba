//! The session and its events.

use std::time::{Duration, Instant};

use stillpoint_proto::v1::{self, StoreError};

use super::Client;
use crate::{
    Event, SessionInfo, error,
    ledger::{Closing, Want, millis},
    spin::Wait,
};

impl Client {
    /// The session, if the client was configured to have one. A forked child has none.
    pub fn session(&self) -> Option<SessionInfo> {
        let ledger = self.driver().ok()?.shared.ledger.lock();
        ledger.session.as_ref().map(|held| held.info.clone())
    }

    /// Waits for what is pending, then ends the session, or leaves it with its claims to a successor, for as long as `linger`
    /// (zero: its lifetime). The store refuses later writes. Fails with FENCED if the session was lost before, and with
    /// DEADLINE_EXCEEDED if the time is up: the session then stays, or nobody knows.
    pub fn close_session(
        &self,
        keep_claims: bool,
        linger: Duration,
        timeout: Duration,
    ) -> Result<(), StoreError> {
        let driver = self.driver()?;
        let until = Instant::now().checked_add(timeout);
        let late = |phase: &str| error::deadline_exceeded(timeout, phase, false);
        driver
            .drive(Want::Idle, Wait::Long, until, |ledger| {
                (ledger.pending() == 0).then_some(())
            })
            .ok_or_else(|| late("the session stays open, since operations are unfinished"))?;
        {
            let mut ledger = driver.shared.ledger.lock();
            if ledger.is_closed() {
                return Err(error::closed(false));
            }
            let held = ledger.session.as_ref().ok_or_else(error::no_session)?;
            let request = v1::CloseSessionRequest {
                context: Some(held.context(&driver.shared.config.namespace)),
                keep_claims,
                linger_ms: millis(linger),
            };
            ledger.session_close(request);
        }
        let outcome = driver.drive(Want::Link, Wait::Long, until, |ledger| {
            match &ledger.session.as_ref()?.closing {
                Closing::Done(outcome) => Some(outcome.clone()),
                Closing::No | Closing::Asked { .. } | Closing::Sent { .. } => None,
            }
        });
        outcome.unwrap_or_else(|| Err(late("closing the session was not answered")))
    }

    /// How many documents have changes that the store has not acknowledged, and since when the oldest of them. The store is
    /// told with the next heartbeat.
    pub fn set_unsaved(&self, documents: u64, oldest: Option<Instant>) {
        if let Ok(driver) = self.driver() {
            let mut ledger = driver.shared.ledger.lock();
            ledger.set_unsaved(documents, oldest);
        }
    }

    /// The next event, each told once, in order. Does not drive. Events are kept with a session or a watch, and otherwise from
    /// the first call on.
    pub fn event(&self) -> Option<Event> {
        self.driver().ok()?.shared.ledger.lock().next_event()
    }
}

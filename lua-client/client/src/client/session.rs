//! The session and its events.

use std::time::{Duration, Instant};

use prost::Message;
use stillpoint_proto::v1::{self, Reason, StoreError};

use super::Client;
use crate::{
    Event, SessionInfo,
    driver::Driver,
    error,
    ledger::{Closing, Want, millis},
    spin::Wait,
};

/// What goes with an answer in its message takes no more bytes than this.
const ANSWER_BYTES_SLACK: usize = 64;

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

    /// Says how a command goes on that came as [`Event::Command`]; sent at once, and before the session is closed. That it
    /// was delivered is said already. `Ok(false)`: nobody waits for that any more, since the command has had its last answer
    /// (`Value` or `Error`), or the control stream was lost meanwhile. TOO_LARGE if it does not fit into a message.
    pub fn answer(
        &self,
        command_id: u64,
        kind: v1::command_answer::Kind,
    ) -> Result<bool, StoreError> {
        let driver = self.driver()?;
        let answer = v1::CommandAnswer {
            command_id,
            kind: Some(kind),
        };
        let bytes = answer.encoded_len() + ANSWER_BYTES_SLACK;
        let mut ledger = driver.shared.ledger.lock();
        let bytes_max = ledger.frame_bytes_max();
        if bytes > bytes_max {
            return Err(StoreError::new(
                Reason::TooLarge,
                format!("the answer has {bytes} bytes, the limit is {bytes_max}"),
            ));
        }
        let Some(kind) = answer.kind else {
            return Ok(false);
        };
        let is_awaited = ledger.command_answered(command_id, kind);
        driver.queued(ledger);
        Ok(is_awaited)
    }

    /// Whether anybody waits for an answer to this command.
    pub fn awaits_answer(&self, command_id: u64) -> bool {
        let is_awaited = |driver: &Driver| {
            let ledger = driver.shared.ledger.lock();
            let held = ledger.session.as_ref();
            held.is_some_and(|held| held.answers.is_awaited(command_id))
        };
        self.driver().is_ok_and(is_awaited)
    }

    /// The next event, each told once, in order. Does not drive. Events are kept with a session or a watch, and otherwise from
    /// the first call on.
    pub fn event(&self) -> Option<Event> {
        self.driver().ok()?.shared.ledger.lock().next_event()
    }
}

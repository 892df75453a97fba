//! Durable timers as the store keeps them, and what changes them.
//!
//! A timer is a record of its service. That it is due writes nothing: it is told to an instance, again and again to a
//! successor, until the firing is consumed. That is a write like any other, so a transaction that consumes the firing
//! and does what it is for happens once, whoever does it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use stillpoint_proto::v1::{
    CancelTimerOp, CancelTimerResult, FinishTimerOp, FinishTimerResult, MissedFirings, Reason,
    RecordKey, SetTimerOp, SetTimerResult, StoreError,
};

use super::{
    draft::Draft,
    evaluate::Rules,
    keys::{self, System},
    record::Record,
};

/// A timer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timer {
    /// When it is due, in milliseconds since 1970.
    pub due_ms: u64,
    /// From each firing to the next, in milliseconds; 0: it fires once.
    pub period_ms: u64,
    /// What becomes of missed firings.
    pub missed: Missed,
    /// The record whose owner it fires at.
    pub owner: Option<Owner>,
    /// What it carries: one MessagePack value, or nothing.
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
}

/// The record whose owner a timer fires at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Its collection.
    pub collection: String,
    /// Its key.
    #[serde(with = "serde_bytes")]
    pub key: Vec<u8>,
}

/// What becomes of missed firings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Missed {
    /// They fire together.
    Once,
    /// Each fires.
    All,
    /// They do not fire.
    Skip,
}

impl Timer {
    /// Reads the record that has it.
    pub fn decode(record: &Record) -> Result<Timer, String> {
        rmp_serde::from_slice(&record.value).map_err(|e| format!("a timer's record: {e}"))
    }

    fn encode(&self) -> Bytes {
        rmp_serde::to_vec(self)
            .expect("a timer is always encodable")
            .into()
    }

    /// How many firings were due by `now_ms`; at least 1 for a timer that is due.
    pub fn firings(&self, now_ms: u64) -> u64 {
        let late_ms = now_ms.saturating_sub(self.due_ms);
        late_ms.checked_div(self.period_ms).unwrap_or(0) + 1
    }

    /// How many firings the next one told stands for.
    pub fn count(&self, now_ms: u64) -> u64 {
        match self.missed {
            Missed::Once => self.firings(now_ms),
            Missed::All | Missed::Skip => 1,
        }
    }

    /// Whether the firing that is due is dropped, since a later one was due too.
    pub fn is_skipped(&self, now_ms: u64) -> bool {
        self.missed == Missed::Skip && self.firings(now_ms) > 1
    }

    /// When it is due again after a firing that is consumed at `now_ms`; `None`: never.
    fn next_due_ms(&self, now_ms: u64) -> Option<u64> {
        let firings = match self.missed {
            Missed::All => 1,
            Missed::Once | Missed::Skip => self.firings(now_ms),
        };
        (self.period_ms > 0).then(|| self.due_ms + firings * self.period_ms)
    }
}

impl Rules<'_> {
    /// Sets a timer.
    pub fn set_timer(
        &self,
        draft: &mut Draft<'_>,
        op: &SetTimerOp,
    ) -> Result<SetTimerResult, StoreError> {
        let key = self.timer_key(&op.service, &op.name)?;
        self.has_room_for_timer(draft, &key)?;
        let due_ms = if op.due_ms > 0 {
            op.due_ms
        } else {
            self.now_ms + op.delay_ms
        };
        let timer = Timer {
            due_ms,
            period_ms: op.period_ms,
            missed: match op.missed() {
                MissedFirings::All => Missed::All,
                MissedFirings::Skip => Missed::Skip,
                MissedFirings::Once | MissedFirings::Unspecified => Missed::Once,
            },
            owner: op.owner.as_ref().map(|owner| Owner {
                collection: owner.collection.clone(),
                key: owner.key.to_vec(),
            }),
            payload: op.payload.to_vec(),
        };
        draft.put(&key, timer.encode(), 0, 0)?;
        Ok(SetTimerResult { due_ms })
    }

    /// Refuses one timer too many; one that is set anew is none.
    fn has_room_for_timer(&self, draft: &Draft<'_>, key: &Bytes) -> Result<(), StoreError> {
        let (limit, set) = (self.config.limits.timers, self.index.timer_count());
        // What the transaction did so far is not in the index.
        if set + draft.touched() < limit || draft.get(key)?.is_some() {
            return Ok(());
        }
        let is_timer = |key: &Bytes| matches!(keys::split_system(key), Some((_, System::Timer, _)));
        if set.saturating_add_signed(draft.gained(is_timer)) < limit {
            return Ok(());
        }
        let message = format!(
            "{limit} timers are set, which is the limit (limits.timers): cancel some, or raise it"
        );
        Err(StoreError::new(Reason::Quota, message))
    }

    /// Removes a timer.
    pub fn cancel_timer(
        &self,
        draft: &mut Draft<'_>,
        op: &CancelTimerOp,
    ) -> Result<CancelTimerResult, StoreError> {
        let key = self.timer_key(&op.service, &op.name)?;
        Ok(CancelTimerResult {
            existed: draft.delete(&key)?,
        })
    }

    /// Consumes a firing.
    pub fn finish_timer(
        &self,
        draft: &mut Draft<'_>,
        op: &FinishTimerOp,
    ) -> Result<FinishTimerResult, StoreError> {
        let key = self.timer_key(&op.service, &op.name)?;
        let timer = draft.get(&key)?.map(|record| Timer::decode(&record));
        let Some(mut timer) = timer
            .transpose()
            .map_err(broken)?
            .filter(|t| t.due_ms == op.due_ms)
        else {
            let message = format!(
                "this firing of timer {} was consumed already, or the timer was set anew or cancelled",
                op.name.escape_ascii()
            );
            return Err(StoreError::new(Reason::VersionConflict, message));
        };
        if let Some(owner) = &timer.owner {
            let name = RecordKey {
                collection: owner.collection.clone(),
                key: owner.key.clone().into(),
            };
            self.may_write(
                &name,
                &keys::record(self.namespace, &name.collection, &name.key),
            )?;
        }
        let Some(next_due_ms) = timer.next_due_ms(self.now_ms) else {
            draft.delete(&key)?;
            return Ok(FinishTimerResult { next_due_ms: 0 });
        };
        timer.due_ms = next_due_ms;
        draft.put(&key, timer.encode(), 0, 0)?;
        Ok(FinishTimerResult { next_due_ms })
    }

    fn timer_key(&self, service: &str, name: &[u8]) -> Result<Bytes, StoreError> {
        let session = self.index.session(self.namespace, self.caller.session);
        let service = match (service, session) {
            ("", Some(session)) => &session.service,
            ("", None) => {
                let message = "a timer belongs to a service: open a session, or name the service";
                return Err(StoreError::new(Reason::Invalid, message));
            }
            (service, _) => service,
        };
        Ok(keys::system(
            self.namespace,
            System::Timer,
            &timer_name(service, name),
        ))
    }
}

/// Service and name of a timer, as the key of its record.
fn timer_name(service: &str, name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(service.len() + 1 + name.len());
    out.extend_from_slice(service.as_bytes());
    out.push(0);
    out.extend_from_slice(name);
    out
}

/// Service and name of a timer, from the key of its record.
pub fn split_timer_name(key: &[u8]) -> Option<(&str, &[u8])> {
    let at = key.iter().position(|byte| *byte == 0)?;
    let (service, name) = key.split_at(at);
    Some((std::str::from_utf8(service).ok()?, &name[1..]))
}

fn broken(detail: String) -> StoreError {
    StoreError::new(Reason::Internal, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(missed: Missed, period_ms: u64) -> Timer {
        Timer {
            due_ms: 1000,
            period_ms,
            missed,
            owner: None,
            payload: Vec::new(),
        }
    }

    #[test]
    fn firings_in_time_go_on_by_one_period_whatever_becomes_of_missed_ones() {
        for missed in [Missed::Once, Missed::All, Missed::Skip] {
            let timer = timer(missed, 100);
            assert_eq!((timer.count(1099), timer.is_skipped(1099)), (1, false));
            assert_eq!(timer.next_due_ms(1099), Some(1100), "{missed:?}");
        }
    }

    #[test]
    fn missed_firings_fire_together_or_each_or_not_at_all() {
        let at = 1350;
        let once = timer(Missed::Once, 100);
        assert_eq!((once.count(at), once.next_due_ms(at)), (4, Some(1400)));
        let all = timer(Missed::All, 100);
        assert_eq!((all.count(at), all.next_due_ms(at)), (1, Some(1100)));
        let skip = timer(Missed::Skip, 100);
        assert!(skip.is_skipped(at));
        assert_eq!(skip.next_due_ms(at), Some(1400));
    }

    #[test]
    fn a_timer_without_a_period_fires_once_however_late() {
        for missed in [Missed::Once, Missed::All, Missed::Skip] {
            let timer = timer(missed, 0);
            assert!(!timer.is_skipped(u64::MAX));
            assert_eq!(
                (timer.count(u64::MAX), timer.next_due_ms(u64::MAX)),
                (1, None)
            );
        }
    }
}

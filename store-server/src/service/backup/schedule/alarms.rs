//! What an operator has to look at.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use stillpoint_proto::v1::Alarm;

use super::{
    kept::{Kept, Trouble},
    plan::Plan,
};
use crate::archive::names::time;

/// No backup for two periods.
const OVERDUE: &str = "backup_overdue";
/// The newest backup could not be verified.
const VERIFY_FAILED: &str = "backup_verify_failed";
/// The target could not be used.
const UNREACHABLE: &str = "backup_target_unreachable";
/// The newest backups do not follow from each other.
const GAP: &str = "backup_chain_gap";

/// The alarms as of now.
pub fn alarms(plan: &Plan, kept: &Kept, now_ms: u64) -> Vec<Alarm> {
    let troubles = [
        (OVERDUE, overdue(plan, kept, now_ms)),
        (VERIFY_FAILED, kept.verify_failed.clone()),
        (UNREACHABLE, kept.unreachable.clone()),
        (GAP, kept.gap.clone()),
    ];
    let raised = troubles.into_iter().filter_map(|(name, trouble)| {
        let Trouble { since_ms, message } = trouble?;
        Some(Alarm {
            name: name.into(),
            message,
            since_ms,
        })
    });
    raised.collect()
}

fn overdue(plan: &Plan, kept: &Kept, now_ms: u64) -> Option<Trouble> {
    let newest = kept.newest.as_ref();
    let newest_ms = newest.map_or(0, |newest| newest.time_ms);
    let since_ms = plan.overdue_ms(newest_ms.max(kept.planned_since_ms))?;
    if since_ms > now_ms {
        return None;
    }
    let last = match newest {
        Some(newest) => format!(
            "the newest backup in {} is {}, of {}",
            kept.target,
            newest.id,
            time(newest.time_ms)
        ),
        None => format!("there is no backup in {} yet", kept.target),
    };
    Some(Trouble {
        since_ms,
        message: format!(
            "{last}: two were due since then. See with `stillpoint backup schedule` what became of them, and take one with \
             `stillpoint backup schedule --run full`"
        ),
    })
}

/// The names of the alarms that the log has been told of.
#[derive(Debug, Default)]
pub struct Logged(Mutex<BTreeSet<String>>);

impl Logged {
    /// Tells the log which alarms have come and gone.
    pub fn tell(&self, alarms: &[Alarm]) {
        let mut logged = self.0.lock();
        let now: BTreeSet<String> = alarms.iter().map(|alarm| alarm.name.clone()).collect();
        for alarm in alarms.iter().filter(|alarm| !logged.contains(&alarm.name)) {
            let (alarm, message) = (&alarm.name, &alarm.message);
            tracing::error!(alarm, "{message}");
        }
        for alarm in logged.difference(&now) {
            tracing::info!(alarm, "the alarm is over");
        }
        *logged = now;
    }
}

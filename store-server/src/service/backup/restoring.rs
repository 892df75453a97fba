//! What restores of the store and of records have in common: which store, which moment, and how far it is.

use std::time::{Duration, UNIX_EPOCH};

use stillpoint_proto::v1::{
    Reason, RestorePhase, RestorePoint, RestoreProgress, StoreError, restore_point::Point,
};

use crate::{
    backup::{Phase, Progress, To},
    store::Store,
};

/// Digits that have to be given of a store's identity.
const CONFIRM_DIGITS: usize = 8;

/// Refuses what does not name this store.
pub fn check_confirm(store: &Store, confirm: &str) -> Result<(), StoreError> {
    let id = store.id();
    let given = confirm.replace('-', "").to_lowercase();
    if given.len() >= CONFIRM_DIGITS && id.starts_with(&given) {
        return Ok(());
    }
    let asked = match confirm {
        "" => "no store was named".to_owned(),
        confirm => format!("{confirm:?} was named"),
    };
    let message = format!(
        "this is store {id}, and {asked} as the one to be changed: if it is meant, give the first {CONFIRM_DIGITS} \
         digits of its identity as `confirm`"
    );
    Err(StoreError::new(Reason::Invalid, message))
}

/// The moment that a request says.
pub fn to(point: Option<RestorePoint>) -> To {
    match point.and_then(|point| point.point) {
        None => To::Latest,
        Some(Point::Seq(seq)) => To::Seq(seq),
        Some(Point::Revision(of)) => To::Revision {
            namespace: of.namespace,
            revision: of.revision,
        },
        Some(Point::TimeMs(time_ms)) => To::Time(time_ms),
        Some(Point::Label(label)) => To::Label(label),
    }
}

/// A moment, for people.
pub fn words(to: &To) -> String {
    match to {
        To::Latest => "the newest state of a backup".into(),
        To::Seq(seq) => format!("commit {seq}"),
        To::Revision {
            namespace,
            revision,
        } => format!("revision {revision} of namespace {namespace}"),
        To::Time(time_ms) => {
            humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(*time_ms))
                .to_string()
        }
        To::Label(label) => label.clone(),
    }
}

/// How far building is.
pub fn progress(progress: &Progress) -> RestoreProgress {
    let phase = match progress.phase {
        Phase::Records => RestorePhase::Records,
        Phase::Log => RestorePhase::Log,
        Phase::Checking | Phase::Finishing => RestorePhase::Finishing,
    };
    RestoreProgress {
        phase: phase.into(),
        records: progress.records,
        records_total: progress.records_total,
        bytes: progress.bytes,
        bytes_total: progress.bytes_total,
    }
}

//! A claim that waits while another session owns the record.
//!
//! The first attempt goes to the writer like any write; only one that is refused since the record has an owner comes here.

use std::sync::Arc;

use stillpoint_proto::v1::{ClaimOp, Op, OpResult, Reason, StoreError, op, op_result};
use tokio::{
    sync::{oneshot, watch},
    time::{Duration, Instant, sleep_until},
};

use super::{handover::Place, hub::Hub};
use crate::store::request::{Answers, Job, WriteItem};

/// A claim that waits, if its record has an owner.
#[derive(Debug)]
pub struct WaitingClaim {
    claim: ClaimOp,
    item: WriteItem,
    until: Instant,
}

/// Who waits.
#[derive(Clone, Debug)]
pub struct Claimant {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its session.
    pub session: Arc<str>,
    /// Its fence.
    pub fence: u64,
}

/// The last attempt is made so long before the caller gives up.
const ANSWER_TIME: Duration = Duration::from_millis(20);

impl WaitingClaim {
    /// What has to be known should the claim have to wait; `None`: it is no such claim. The first attempt does not steal.
    pub fn of(item: &mut WriteItem) -> Option<WaitingClaim> {
        let Some(op::Kind::Claim(claim)) = &mut item.op.kind else {
            return None;
        };
        if claim.wait_ms == 0 {
            return None;
        }
        let waiting = claim.clone();
        claim.steal = false;
        let until = Instant::now() + Duration::from_millis(claim.wait_ms.into());
        let gives_up = item
            .deadline
            .map(|deadline| Instant::from_std(deadline) - ANSWER_TIME);
        Some(WaitingClaim {
            claim: waiting,
            item: item.clone(),
            until: gives_up.map_or(until, |gives_up| until.min(gives_up)),
        })
    }

    /// Whether the answer to an attempt says that the claim has to wait: somebody else owns the record. (That a repeat of
    /// the claim was granted, and the record lost since, has no holder.)
    pub fn has_to_wait(result: &OpResult) -> bool {
        matches!(&result.kind, Some(op_result::Kind::Error(error))
            if error.reason() == Reason::NotOwner && !error.holder.is_empty())
    }

    /// Waits until the record is free, or the time is over.
    pub async fn wait(
        self,
        hub: Arc<Hub>,
        who: Claimant,
        mut stopping: watch::Receiver<bool>,
    ) -> Answers {
        let name = self.claim.key.clone().unwrap_or_default();
        let place = hub.wait_for(
            &who.namespace,
            &who.session,
            &name,
            self.until,
            self.claim.steal,
        );
        loop {
            match next(&place, self.until, &mut stopping).await {
                Next::Turn => {
                    let answers = self.attempt(&hub, &who, false).await;
                    if !answers.results.iter().any(Self::has_to_wait) {
                        return answers;
                    }
                }
                Next::Over => return self.attempt(&hub, &who, self.claim.steal).await,
                Next::Stopping => {
                    let message = "the server is stopping: claim again";
                    return refused(StoreError::new(Reason::Unavailable, message));
                }
            }
        }
    }

    async fn attempt(&self, hub: &Arc<Hub>, who: &Claimant, steal: bool) -> Answers {
        let mut item = self.item.clone();
        let claim = ClaimOp {
            steal,
            ..self.claim.clone()
        };
        item.op = Op {
            kind: Some(op::Kind::Claim(claim)),
        };
        let (sender, receiver) = oneshot::channel();
        hub.store().submit(Job {
            namespace: who.namespace.clone(),
            session: who.session.clone(),
            fence: who.fence,
            items: vec![item],
            reply: Box::new(move |answers| drop(sender.send(answers))),
        });
        receiver.await.unwrap_or_else(|_| {
            let message = "the server stopped before it answered";
            let mut error = StoreError::new(Reason::Unavailable, message);
            error.maybe_applied = true;
            refused(error)
        })
    }
}

/// What comes next for a claim that waits.
enum Next {
    /// There is a chance.
    Turn,
    /// The time is over.
    Over,
    /// The server stops.
    Stopping,
}

async fn next(place: &Place, until: Instant, stopping: &mut watch::Receiver<bool>) -> Next {
    tokio::select! {
        () = place.turn() => Next::Turn,
        () = sleep_until(until) => Next::Over,
        _ = stopping.wait_for(|stopping| *stopping) => Next::Stopping,
    }
}

fn refused(error: StoreError) -> Answers {
    let result = OpResult {
        kind: Some(op_result::Kind::Error(error)),
    };
    Answers {
        results: vec![result],
        revision: 0,
    }
}

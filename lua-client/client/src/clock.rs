//! What happens at its time: deadlines, and the end of a pause.
//!
//! One timer for all operations: it stands at the earliest deadline ever asked for, and only when it fires are the
//! operations looked through. Most are answered long before, so they cost nothing here.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Instant};

use crate::shared::Shared;

/// Runs as long as the client.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        let due = shared.ledger.lock().due();
        if due.is_some_and(|due| due <= Instant::now()) {
            shared.ledger.lock().expire(Instant::now());
            continue;
        }
        let timer = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        let mut timer = pin!(timer);
        poll_fn(|cx| {
            let mut ledger = shared.ledger.lock();
            if ledger.due() != due {
                return Poll::Ready(());
            }
            ledger.clock = Some(cx.waker().clone());
            drop(ledger);
            timer.as_mut().poll(cx)
        })
        .await;
    }
}

//! What is done with each process for itself: a command, a notice, drain, evict.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use stillpoint_proto::v1::{EvictSessions, OperatorNotice, Phase, RunCommand, SendNotice};

use super::{
    action::{AskOptions, Teller, Words, ask_all, conclude, each, words},
    dispatch::{Process, notify},
};
use crate::service::session::hub::Hub;

const PHASE: Phase = Phase::Unspecified;

/// Runs a command in the processes.
pub async fn command(
    hub: Arc<Hub>,
    command: RunCommand,
    processes: Vec<Process>,
    options: AskOptions,
    mut teller: Teller,
) {
    let arguments = |_: &Process| command.arguments.clone();
    let name = &command.name;
    let words = ask_all(
        &hub,
        &mut teller,
        PHASE,
        &processes,
        name,
        arguments,
        &options,
    )
    .await;
    let (outcome, message) = conclude("have done it", &words);
    teller.finish(outcome, &message).await;
}

/// Tells the processes something.
pub async fn notice(
    hub: Arc<Hub>,
    notice: SendNotice,
    processes: Vec<Process>,
    options: AskOptions,
    mut teller: Teller,
) {
    let notice = OperatorNotice {
        message: notice.message,
        payload: notice.payload,
        actor: options.actor.clone(),
    };
    let begin = |process: &Process| words(notify(&hub, process, notice.clone(), options.timeout));
    let words = each(&mut teller, PHASE, &processes, &options, begin).await;
    let (outcome, message) = conclude("have it", &words);
    teller.finish(outcome, &message).await;
}

/// Lets the processes save, leave their sessions and exit.
pub async fn drain(
    hub: Arc<Hub>,
    processes: Vec<Process>,
    options: AskOptions,
    mut teller: Teller,
) {
    let begin = |process: &Process| super::leaving::drain(&hub, process, &options);
    let words = each(&mut teller, PHASE, &processes, &options, begin).await;
    let (outcome, message) = conclude("have left their sessions", &words);
    teller.finish(outcome, &message).await;
}

/// Ends the sessions of the processes.
pub async fn evict(
    hub: Arc<Hub>,
    evict: EvictSessions,
    processes: Vec<Process>,
    options: AskOptions,
    mut teller: Teller,
) {
    let reason = match evict.reason.as_str() {
        "" => format!("evicted by an operator ({})", options.actor),
        reason => format!("evicted by an operator ({}): {reason}", options.actor),
    };
    let begin = |process: &Process| -> Words {
        let (hub, process, reason) = (hub.clone(), process.clone(), reason.clone());
        stream::once(async move { super::leaving::evict(&hub, &process, reason).await }).boxed()
    };
    let words = each(&mut teller, PHASE, &processes, &options, begin).await;
    let (outcome, message) = conclude("are over", &words);
    teller.finish(outcome, &message).await;
}

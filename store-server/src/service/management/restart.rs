//! Restarting processes one after another.
//!
//! The server starts no process: who restarts one that has exited, such as a supervisor, starts its successor. What is done
//! here is to ask one process at a time to leave, and to go on only when its successor is there.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use stillpoint_proto::v1::{ActionOutcome, Phase, RestartProcesses};
use tokio::time::timeout;

use super::{
    action::{AskOptions, Teller, Words, conclude, each},
    dispatch::{Process, Word},
    leaving,
    request::duration,
};
use crate::service::session::hub::Hub;

/// Drains the processes, `options.parallel` at a time, and waits for the successor of each.
pub async fn restart(
    hub: Arc<Hub>,
    request: RestartProcesses,
    processes: Vec<Process>,
    options: AskOptions,
    mut teller: Teller,
) {
    let default_ms = hub.store().config().management.successor_ms;
    let within = match duration("successor_ms", request.successor_ms, default_ms) {
        Ok(within) => within,
        Err(error) => return teller.finish(ActionOutcome::Failed, &error.message).await,
    };
    let begin = |process: &Process| replace(&hub, process, &options, within);
    let words = each(&mut teller, Phase::Unspecified, &processes, &options, begin).await;
    let (outcome, message) = conclude("have successors", &words);
    teller.finish(outcome, &message).await;
}

/// How far the restart of one process is.
enum Step {
    Leaving(Words),
    Left,
    Replaced,
}

/// Lets a process leave, then waits for its successor.
fn replace(hub: &Arc<Hub>, process: &Process, options: &AskOptions, within: Duration) -> Words {
    let (hub, leaving) = (hub.clone(), leaving::drain(hub, process, options));
    let process = process.clone();
    let going_on = stream::unfold(Some(Step::Leaving(leaving)), move |step| {
        let (hub, process) = (hub.clone(), process.clone());
        async move {
            Some(match step? {
                Step::Leaving(mut words) => match words.next().await? {
                    Word::Ok(_) => {
                        let text = "it has left; waiting for its successor".into();
                        (Word::Progress(text), Some(Step::Left))
                    }
                    word if word.is_last() => (word, None),
                    word => (word, Some(Step::Leaving(words))),
                },
                Step::Left => match timeout(within, successor(&hub, &process)).await {
                    Ok(text) => (Word::Progress(text), Some(Step::Replaced)),
                    Err(_) => (nobody_came(within), None),
                },
                Step::Replaced => (Word::Ok(Bytes::new()), None),
            })
        }
    });
    going_on.boxed()
}

/// Waits for the successor of a process; says who it is.
async fn successor(hub: &Hub, process: &Process) -> String {
    let (namespace, identity) = (&process.key.namespace, process.identity());
    let session = hub.successor(namespace, &identity, process.fence).await;
    let version = match session.code_version.as_str() {
        "" => String::new(),
        version => format!(", code version {version}"),
    };
    format!(
        "its successor is there, with fence {}{version}",
        session.fence
    )
}

fn nobody_came(within: Duration) -> Word {
    Word::failed(format!(
        "its successor did not come within {} s: look at what starts it (a supervisor, a script), or give it longer \
         (`stillpoint restart --successor-timeout`, or the setting management.successor_ms)",
        within.as_secs_f64()
    ))
}

//! Restarting processes one after another.

use std::sync::Arc;

use stillpoint_proto::v1::{ActionOutcome, RestartProcesses};

use super::{
    action::{AskOptions, Teller},
    dispatch::Process,
};
use crate::service::session::hub::Hub;

/// Drains the processes, `options.parallel` at a time, and waits for the successor of each.
pub async fn restart(
    hub: Arc<Hub>,
    request: RestartProcesses,
    processes: Vec<Process>,
    options: AskOptions,
    teller: Teller,
) {
    drop((hub, request, processes, options));
    let message = "this server does not restart processes";
    teller.finish(ActionOutcome::Failed, message).await;
}

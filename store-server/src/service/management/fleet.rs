//! Reloading the program of all processes, or of none.

use std::sync::Arc;

use stillpoint_proto::v1::{ActionOutcome, ReloadFleet};

use super::{
    action::{AskOptions, Teller},
    dispatch::Process,
};
use crate::service::session::hub::Hub;

/// Takes a step of a reload with the processes.
pub async fn reload(
    hub: Arc<Hub>,
    request: ReloadFleet,
    processes: Vec<Process>,
    options: AskOptions,
    teller: Teller,
) {
    drop((hub, request, processes, options));
    let message = "this server does not reload fleets";
    teller.finish(ActionOutcome::Failed, message).await;
}

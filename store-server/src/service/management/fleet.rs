//! A fleet reload: all processes of a selection go over to the new generation of their program, or none does.
//!
//! - `course`: which phase comes next, and who is in it. `repair`: what is done with those that are not where the others are.
//! - `verb`: what a process is asked. `answer`: what it says. `member`: what is known of it.
//! - `program`: who runs the same. `compare`: which program they come to. `picture`: what each runs. `verdict`, `words`: what
//!   is told at the end.
//! - `live`: the processes of this server, as the course sees them.

mod answer;
mod compare;
mod course;
#[cfg(test)]
mod fake;
mod live;
mod member;
#[cfg(test)]
mod model;
#[cfg(test)]
mod partly;
mod picture;
mod program;
mod repair;
#[cfg(test)]
mod tests;
mod verb;
mod verdict;
mod words;

use std::sync::Arc;

use stillpoint_proto::v1::{ActionOutcome, ReloadFleet, Selection, reload_fleet::Step};

use self::{live::Live, verdict::Verdict};
use super::{
    action::{AskOptions, Teller},
    dispatch::Process,
};
use crate::service::session::hub::Hub;

/// Takes a step of a reload with the processes of a selection. What one of them prepares goes by the id of the action.
pub async fn reload(
    hub: Arc<Hub>,
    id: &str,
    request: ReloadFleet,
    selection: Selection,
    processes: Vec<Process>,
    options: AskOptions,
    teller: Teller,
) {
    let step = request.step();
    let before = match step {
        Step::Apply => Some("reload"),
        Step::Rollback => Some("rollback"),
        Step::Plan | Step::Status | Step::Unspecified => None,
    };
    if let Some(what) = before {
        // What the new program does to the data can be taken back, too.
        let (store, note) = (hub.store(), format!("action {id}"));
        let marked = store.mark_before(&selection.namespace, what, &note, &options.actor);
        marked.await;
    }
    let mut live = Live::new(hub, id, request.options, selection, options, teller);
    let verdict = match step {
        Step::Plan => course::plan(&mut live, processes).await,
        Step::Apply => course::apply(&mut live, processes).await,
        Step::Rollback => course::rollback(&mut live, processes).await,
        Step::Status => course::status(&mut live, processes).await,
        Step::Unspecified => Verdict {
            outcome: ActionOutcome::Failed,
            message: "no step of a reload was asked for".into(),
        },
    };
    live.finish(verdict).await;
}

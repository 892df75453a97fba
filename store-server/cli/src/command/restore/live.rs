//! In place of the store that is running.
//!
//! The server tells `done` when the new state is complete and nothing can keep it from taking its place any more. Then it
//! restarts within itself; that it serves again is seen from its incarnation.

use std::time::Duration;

use rmpv::Value;
use stillpoint_client::AdminClient;
use stillpoint_proto::v1::{
    RestorePhase, RestorePoint, RestoreProgress, RestoreStoreRequest, RestoreSummary,
    restore_point::Point, restore_store_response::Kind,
};

use super::Options;
use crate::{
    backup::{
        words::{backups, namespace_text, namespaces, namespaces_value},
        work::{Meter, RECORDS},
    },
    command::status::hex,
    confirm,
    failure::Failure,
    interrupt::Interrupt,
    management::{options::user, words::moment},
    output::{print_json, print_text},
    port::AdminPort,
    progress,
    record::object,
};

/// How long the server may take from one state to the other: it gives the requests in flight their grace first.
const SWAP_TIMEOUT: Duration = Duration::from_secs(120);

/// What the server says, and whose word it is.
struct Told {
    store_id: String,
    sessions: u64,
    summary: RestoreSummary,
}

/// Restores the running store, and waits until it serves what it was brought back to.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    if options.confirm.is_none() && !options.dry_run {
        confirm::somebody_can_type("--confirm with the first 8 digits of the store's identity")?;
    }
    let request = RestoreStoreRequest {
        target: options.target.url()?,
        backup: options.backup,
        point: options.to.to_point(),
        confirm: options.confirm.unwrap_or_default(),
        dry_run: options.dry_run,
        actor: options.actor.unwrap_or_else(user),
        key_file: options.key.for_server()?,
    };
    let mut port = options.port.connect()?;
    let told = match (request.dry_run, request.confirm.is_empty()) {
        (true, _) => rehearse(&mut port, &request)?,
        (false, false) => restore(&mut port, request)?,
        (false, true) => {
            let would = rehearse(&mut port, &request)?;
            let confirm = confirm::store(&describe_rehearsal(&would), &would.store_id)?;
            let shown = would.summary.seq;
            let point = RestorePoint {
                point: Some(Point::Seq(shown)),
            };
            let request = RestoreStoreRequest {
                confirm,
                // What was shown, whatever has been backed up since.
                backup: would.summary.backups.last().cloned().unwrap_or_default(),
                point: Some(point),
                ..request
            };
            restore(&mut port, request)?
        }
    };
    if options.dry_run {
        match json {
            true => print_json(&to_value(&told, true), false)?,
            false => print_text(&describe_rehearsal(&told))?,
        }
        return Ok(());
    }
    drop(port);
    wait_until_served(&options.port, told.summary.incarnation)?;
    match json {
        true => print_json(&to_value(&told, false), false)?,
        false => print_text(&describe(&told))?,
    }
    Ok(())
}

/// What it would be.
fn rehearse(port: &mut AdminClient, request: &RestoreStoreRequest) -> Result<Told, Failure> {
    restore(
        port,
        RestoreStoreRequest {
            dry_run: true,
            ..request.clone()
        },
    )
}

fn restore(port: &mut AdminClient, request: RestoreStoreRequest) -> Result<Told, Failure> {
    let sessions = port.status()?.sessions;
    let meter = Meter::new("restoring");
    let mut done = None;
    for told in port.restore_store(request)? {
        let told = told?;
        match told.kind {
            Some(Kind::Progress(progress)) => show(&meter, &progress),
            Some(Kind::Done(summary)) => done = Some((told.header.unwrap_or_default(), summary)),
            // Told by a newer server.
            None => {}
        }
    }
    let (header, summary) = done.ok_or_else(|| {
        Failure::operation("the store ended the answer before the restore was complete")
            .hint("see with `stillpoint status` which incarnation it is")
    })?;
    Ok(Told {
        store_id: hex(&header.store_id),
        sessions,
        summary,
    })
}

fn show(meter: &Meter, progress: &RestoreProgress) {
    let doing = match progress.phase() {
        RestorePhase::Log => "log",
        RestorePhase::Finishing => "finishing",
        _ => RECORDS,
    };
    meter.show(doing, progress.bytes, progress.bytes_total);
}

fn wait_until_served(port: &AdminPort, incarnation: u64) -> Result<(), Failure> {
    let bar = progress::work("swapping");
    bar.set_message("the store restarts");
    let interrupt = Interrupt::listen()?;
    let served = interrupt.wait_for(SWAP_TIMEOUT, || {
        // Nobody answers until it is there.
        let status = port.connect().and_then(|mut port| Ok(port.status()?));
        let header = status.ok().and_then(|status| status.header);
        Ok(header
            .map(|header| header.incarnation)
            .filter(|now| *now >= incarnation))
    });
    bar.finish_and_clear();
    let hint = "the server's log says what holds it up; a server that is started on the same data directory finishes it";
    match served {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(Failure::operation(format_args!(
            "the state is complete, but the store has not served it within {} s",
            SWAP_TIMEOUT.as_secs()
        ))
        .hint(hint)),
        Err(failure) => {
            Err(failure.hint("the restore goes on all the same: see `stillpoint status`"))
        }
    }
}

fn describe_rehearsal(told: &Told) -> String {
    let summary = &told.summary;
    let needed = summary.backups.iter().map(|id| format!("  {id}\n"));
    format!(
        "would bring store {} back to commit {}, as incarnation {}, from {}:\n{}\
         {} would be given up, and {} end; what is there now would be kept in {}\n",
        told.store_id,
        summary.seq,
        summary.incarnation,
        backups(summary.backups.len()),
        needed.collect::<String>(),
        commits(summary.commits_given_up),
        sessions(told.sessions),
        summary.kept_in,
    )
}

fn describe(told: &Told) -> String {
    let summary = &told.summary;
    let mut text = format!(
        "store {} is brought back to commit {} of {}, as incarnation {}\n",
        told.store_id,
        summary.seq,
        moment(summary.time_ms),
        summary.incarnation
    );
    for (name, state) in &namespaces(&summary.namespaces) {
        text += &format!("  {}\n", namespace_text(name, state));
    }
    text += &match summary.state_hash.as_str() {
        "" => "the store knew no state hash to compare with\n".to_owned(),
        hash => format!("its state hash is that of the store at that moment: {hash}\n"),
    };
    text + &format!(
        "given up: {}; what was there before is kept in {}\n",
        commits(summary.commits_given_up),
        summary.kept_in
    )
}

fn commits(count: u64) -> String {
    match count {
        1 => "1 commit".into(),
        count => format!("{count} commits"),
    }
}

fn sessions(count: u64) -> String {
    match count {
        1 => "1 session would".into(),
        count => format!("{count} sessions would"),
    }
}

fn to_value(told: &Told, dry_run: bool) -> Value {
    let summary = &told.summary;
    let needed = summary.backups.iter().map(|id| Value::from(id.as_str()));
    let hash = summary.state_hash.as_str();
    object([
        ("dry_run", dry_run.into()),
        ("store_id", told.store_id.as_str().into()),
        ("backups", Value::Array(needed.collect())),
        ("seq", summary.seq.into()),
        ("time_ms", summary.time_ms.into()),
        (
            "namespaces",
            namespaces_value(&namespaces(&summary.namespaces)),
        ),
        (
            "state_hash",
            match hash {
                "" => Value::Nil,
                hash => hash.into(),
            },
        ),
        ("incarnation", summary.incarnation.into()),
        ("commits_given_up", summary.commits_given_up.into()),
        ("sessions_ended", told.sessions.into()),
        ("kept_in", summary.kept_in.as_str().into()),
    ])
}

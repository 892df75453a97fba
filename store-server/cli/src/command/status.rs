//! `stillpoint status`: how the store is.

use std::{io, time::Duration};

use clap::Args;
use comfy_table::{CellAlignment, Table};
use rmpv::Value;
use stillpoint_proto::v1::GetStatusResponse;

use crate::{
    backup::schedule,
    failure::Failure,
    output::{self, plain_table},
    port::AdminPort,
    record::object,
    settings::size_text,
};

const AFTER_HELP: &str = "\
With --check it fails, with exit code 1, where somebody has to look: there is an
alarm, or the store takes no writes. For monitoring.

Examples:
  stillpoint status
  stillpoint status --check > /dev/null
  stillpoint status --json | jq .log.bytes
";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Options {
    /// Fail if there is an alarm or the store takes no writes
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    port: AdminPort,
}

/// Prints the status.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let status = options.port.connect()?.status()?;
    match json {
        true => output::print_json(&to_value(&status), false)?,
        false => show(&status)?,
    }
    match options.check {
        true => check(&status),
        false => Ok(()),
    }
}

fn show(status: &GetStatusResponse) -> io::Result<()> {
    let backup = status.backup.clone().unwrap_or_default();
    output::print_text(&schedule::alarm_lines(&backup.alarms))?;
    let mut table = store_table(status);
    for (name, value) in schedule::rows(&backup) {
        table.add_row([name.to_owned(), value]);
    }
    output::print_table(&table)?;
    if !status.namespaces.is_empty() {
        output::print_line("")?;
        output::print_table(&namespace_table(status))?;
    }
    Ok(())
}

/// Fails if somebody has to look.
fn check(status: &GetStatusResponse) -> Result<(), Failure> {
    let mut wrong = Vec::new();
    if !status.read_only_reason.is_empty() {
        let reason = &status.read_only_reason;
        wrong.push(format!("the store takes no writes: {reason}"));
    }
    let alarms = status.backup.iter().flat_map(|backup| &backup.alarms);
    wrong.extend(alarms.map(|alarm| format!("{}: {}", alarm.name, alarm.message)));
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Failure::operation(wrong.join("\n"))),
    }
}

/// The status for people.
fn store_table(status: &GetStatusResponse) -> Table {
    let header = status.header.clone().unwrap_or_default();
    let log = status.log.unwrap_or_default();
    let view = status.view.clone().unwrap_or_default();
    let counters = status.counters.unwrap_or_default();
    let writes = match status.read_only_reason.as_str() {
        "" => "taken".to_owned(),
        reason => format!("REFUSED: {reason}"),
    };
    let commits = match log.last_seq {
        0 => "none yet".to_owned(),
        last => format!(
            "{} to {last} in the log, synced to {}, checkpoint at {}",
            log.first_seq, log.synced_seq, log.checkpoint_seq
        ),
    };
    let mut table = plain_table();
    let rows: [(&str, String); 13] = [
        (
            "server",
            format!("{}, process {}", status.server_version, status.pid),
        ),
        ("up for", time(status.uptime_ms)),
        ("data directory", status.data_dir.clone()),
        (
            "store",
            format!(
                "{}, incarnation {}",
                hex(&header.store_id),
                header.incarnation
            ),
        ),
        ("writes", writes),
        (
            "connections",
            format!(
                "{}, {} operations in flight",
                status.connections, status.in_flight
            ),
        ),
        (
            "sessions",
            format!(
                "{}, with {} claims, {} timers, {} watches",
                status.sessions, status.claims, status.timers, status.watches
            ),
        ),
        (
            "log",
            format!("{} in {} segments", size_text(log.bytes), log.segments),
        ),
        ("commits", commits),
        (
            "view",
            format!(
                "{}, {}, applied to {}, {} records in memory",
                view.engine,
                size_text(view.bytes),
                view.applied_seq,
                view.overlay_records
            ),
        ),
        (
            "since start",
            format!(
                "{} reads, {} commits in {} syncs, {} conflicts",
                counters.reads, counters.commits, counters.syncs, counters.conflicts
            ),
        ),
        (
            "",
            format!(
                "{} repeats answered, {} records expired",
                counters.repeats, counters.expired
            ),
        ),
        ("processor", time(counters.cpu_us / 1000)),
    ];
    for (name, value) in rows {
        table.add_row([name.to_owned(), value]);
    }
    table
}

fn namespace_table(status: &GetStatusResponse) -> Table {
    let mut table = plain_table();
    table.set_header(["NAMESPACE", "RECORDS", "REVISION"]);
    for namespace in &status.namespaces {
        table.add_row([
            namespace.namespace.clone(),
            namespace.records.to_string(),
            namespace.revision.to_string(),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// The status for programs: the fields of the contract, by their names.
fn to_value(status: &GetStatusResponse) -> Value {
    let header = status.header.clone().unwrap_or_default();
    let log = status.log.unwrap_or_default();
    let view = status.view.clone().unwrap_or_default();
    let counters = status.counters.unwrap_or_default();
    let namespaces = status.namespaces.iter().map(|namespace| {
        object([
            ("namespace", namespace.namespace.as_str().into()),
            ("revision", namespace.revision.into()),
            ("records", namespace.records.into()),
        ])
    });
    object([
        ("store_id", hex(&header.store_id).into()),
        ("incarnation", header.incarnation.into()),
        ("server_version", status.server_version.as_str().into()),
        ("data_dir", status.data_dir.as_str().into()),
        ("pid", status.pid.into()),
        ("uptime_ms", status.uptime_ms.into()),
        ("read_only_reason", status.read_only_reason.as_str().into()),
        ("connections", status.connections.into()),
        ("in_flight", status.in_flight.into()),
        ("sessions", status.sessions.into()),
        ("claims", status.claims.into()),
        ("timers", status.timers.into()),
        ("watches", status.watches.into()),
        ("namespaces", Value::Array(namespaces.collect())),
        (
            "log",
            object([
                ("segments", log.segments.into()),
                ("bytes", log.bytes.into()),
                ("first_seq", log.first_seq.into()),
                ("last_seq", log.last_seq.into()),
                ("synced_seq", log.synced_seq.into()),
                ("checkpoint_seq", log.checkpoint_seq.into()),
            ]),
        ),
        (
            "view",
            object([
                ("engine", view.engine.as_str().into()),
                ("applied_seq", view.applied_seq.into()),
                ("overlay_records", view.overlay_records.into()),
                ("bytes", view.bytes.into()),
            ]),
        ),
        (
            "backup",
            schedule::to_value(&status.backup.clone().unwrap_or_default()),
        ),
        (
            "counters",
            object([
                ("reads", counters.reads.into()),
                ("commits", counters.commits.into()),
                ("syncs", counters.syncs.into()),
                ("conflicts", counters.conflicts.into()),
                ("repeats", counters.repeats.into()),
                ("expired", counters.expired.into()),
                ("cpu_us", counters.cpu_us.into()),
            ]),
        ),
    ])
}

/// Bytes as two digits each.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn time(ms: u64) -> String {
    humantime::format_duration(Duration::from_millis(ms)).to_string()
}

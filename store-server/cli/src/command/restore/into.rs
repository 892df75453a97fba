//! Into a new data directory, without a server.

use std::path::PathBuf;

use rmpv::Value;
use stillpoint_store_server::backup::{self, RestoreOptions, RestoreReport};

use super::Options;
use crate::{
    backup::{
        words::{backups, namespace_text, namespaces_value},
        work::{self, Meter},
    },
    failure::Failure,
    management::words::moment,
    output::{print_json, print_text},
    record::object,
    settings::kind::size_text,
};

/// Restores it there.
pub fn run(options: Options, into: PathBuf, json: bool) -> Result<(), Failure> {
    let target = options.target.open()?.with_key(options.key.read()?);
    let what = RestoreOptions {
        backup: options.backup,
        to: options.to.0,
        into,
        dry_run: options.dry_run,
        reserve_bytes: 0,
    };
    let report = {
        let meter = Meter::new("restoring");
        let tell = |progress| meter.tell(&progress);
        work::run(backup::restore(&target, &what, &tell))?
    };
    match json {
        true => print_json(&to_value(&report, what.dry_run), false)?,
        false => print_text(&describe(&report, what.dry_run))?,
    }
    Ok(())
}

fn describe(report: &RestoreReport, dry_run: bool) -> String {
    let from = format!(
        "{} of {}",
        size_text(report.stored_bytes),
        backups(report.backups.len())
    );
    let into = report.into.display();
    if dry_run {
        let needed = report.backups.iter().map(|id| format!("  {id}\n"));
        return format!(
            "would restore commit {} into {into}, as incarnation {}, from {from}:\n{}",
            report.seq,
            report.incarnation,
            needed.collect::<String>()
        );
    }
    let mut text = format!(
        "restored commit {} of {} into {into}, as incarnation {}, from {from}\n",
        report.seq,
        moment(report.time_ms),
        report.incarnation
    );
    for (name, state) in &report.namespaces {
        text += &format!("  {}\n", namespace_text(name, state));
    }
    text += &match &report.state_hash {
        Some(hash) => format!("its state hash is that of the store at that moment: {hash}\n"),
        None => "the store knew no state hash to compare with\n".to_owned(),
    };
    text + &format!("start it with: stillpoint serve --data-dir {into}\n")
}

fn to_value(report: &RestoreReport, dry_run: bool) -> Value {
    let needed = report.backups.iter().map(|id| Value::from(id.as_str()));
    let hash = report.state_hash.as_deref();
    object([
        ("dry_run", dry_run.into()),
        ("into", report.into.display().to_string().into()),
        ("backups", Value::Array(needed.collect())),
        ("stored_bytes", report.stored_bytes.into()),
        ("seq", report.seq.into()),
        ("time_ms", report.time_ms.into()),
        ("namespaces", namespaces_value(&report.namespaces)),
        ("state_hash", hash.map_or(Value::Nil, Value::from)),
        ("store_id", report.store_id.as_str().into()),
        ("incarnation", report.incarnation.into()),
    ])
}

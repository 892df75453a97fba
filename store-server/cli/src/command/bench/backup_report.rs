//! What is printed of backups, restores and starts: tables that can be pasted into a page, or JSON.

use std::time::Duration;

use rmpv::Value;

use super::{
    backup::{Beside, DOCUMENT_BYTES, IN_FLIGHT, Moved, Report, Sizes, Writers},
    report::{print_table, processors, table_for_a_page, thousands},
};
use crate::{failure::Failure, output, record::object};

/// Prints backups, restores and starts.
pub fn print(
    sizes: &Sizes,
    server_version: &str,
    report: &Report,
    json: bool,
) -> Result<(), Failure> {
    if json {
        let writers =
            (report.writers.iter()).map(|(beside, rounds)| writers_value(*beside, rounds));
        let restore = median_by(&report.restores, |moved| moved.elapsed);
        let report = object([
            ("server_version", server_version.into()),
            ("processors", processors().into()),
            ("rounds", sizes.rounds.into()),
            ("bytes", DOCUMENT_BYTES.into()),
            ("records", sizes.records.into()),
            ("in_flight", IN_FLIGHT.into()),
            ("writers", Value::Array(writers.collect())),
            ("restore", moved_value(restore)),
            ("startup_records", sizes.startup_records.into()),
            ("start_seconds", median_seconds(&report.starts).into()),
            (
                "start_without_view_seconds",
                median_seconds(&report.rebuilds).into(),
            ),
        ]);
        return Ok(output::print_json(&report, false)?);
    }
    let mut table = table_for_a_page();
    table.set_header([
        "beside YCSB A",
        "MB/s",
        "seconds",
        "ops/s",
        "writes p50 µs",
        "p99 µs",
        "p99.9 µs",
    ]);
    for (beside, rounds) in &report.writers {
        let writers = median_by(rounds, |writers| writers.elapsed);
        table.add_row(writers_row(*beside, writers));
    }
    print_table(table, 1)?;
    output::print_line("")?;
    let mut table = table_for_a_page();
    table.set_header(["", "records", "seconds", "MB/s"]);
    let restore = median_by(&report.restores, |moved| moved.elapsed);
    table.add_row([
        "restore".into(),
        thousands(sizes.records.into()),
        format!("{:.2}", restore.elapsed.as_secs_f64()),
        format!("{:.0}", restore.mb_per_second()),
    ]);
    for (what, starts) in [
        ("start after kill -9", &report.starts),
        ("the same without the view", &report.rebuilds),
    ] {
        table.add_row([
            what.into(),
            thousands(sizes.startup_records.into()),
            format!("{:.2}", median_seconds(starts)),
            String::new(),
        ]);
    }
    print_table(table, 1)?;
    Ok(output::print_line(&format!(
        "\n{} processors, {} records of {} B, {} in flight, {} round(s), server {server_version}. MB before compression.",
        processors(),
        thousands(sizes.records.into()),
        DOCUMENT_BYTES,
        IN_FLIGHT,
        sizes.rounds,
    ))?)
}

fn writers_row(beside: Beside, writers: &Writers) -> [String; 7] {
    let moved = &writers.beside;
    let (rate, seconds) = match beside {
        Beside::Nothing => ("–".into(), "–".into()),
        _ => (
            format!("{:.0}", moved.mb_per_second()),
            format!("{:.2}", moved.elapsed.as_secs_f64()),
        ),
    };
    [
        beside.name().into(),
        rate,
        seconds,
        thousands(writers.ops_per_second()),
        thousands(writers.latency_us(0.5)),
        thousands(writers.latency_us(0.99)),
        thousands(writers.latency_us(0.999)),
    ]
}

fn writers_value(beside: Beside, rounds: &[Writers]) -> Value {
    let writers = median_by(rounds, |writers| writers.elapsed);
    object([
        ("beside", beside.name().into()),
        (
            "backup",
            match beside {
                Beside::Nothing => Value::Nil,
                _ => moved_value(&writers.beside),
            },
        ),
        ("ops_per_second", writers.ops_per_second().into()),
        ("writes", writers.latencies.len().into()),
        ("p50_us", writers.latency_us(0.5).into()),
        ("p99_us", writers.latency_us(0.99).into()),
        ("p999_us", writers.latency_us(0.999).into()),
    ])
}

fn moved_value(moved: &Moved) -> Value {
    object([
        ("bytes", moved.bytes.into()),
        ("stored_bytes", moved.stored_bytes.into()),
        ("seconds", moved.elapsed.as_secs_f64().into()),
        ("mb_per_second", moved.mb_per_second().into()),
    ])
}

fn median_seconds(times: &[Duration]) -> f64 {
    median_by(times, |time| *time).as_secs_f64()
}

/// The round with the median time, or whatever it is measured by; of an even number the smaller one in the middle. There is a
/// round.
pub fn median_by<T, K: Ord>(rounds: &[T], key: impl Fn(&T) -> K) -> &T {
    let mut sorted: Vec<&T> = rounds.iter().collect();
    sorted.sort_by_key(|round| key(round));
    sorted[(sorted.len() - 1) / 2]
}

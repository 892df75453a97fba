//! What is printed of migrations: tables that can be pasted into a page, or JSON.

use rmpv::Value;

use super::{
    backup::{DOCUMENT_BYTES, IN_FLIGHT},
    backup_report::median_by,
    measured::Latencies,
    migration::{Foreground, Report, Rewriting, Sizes},
    report::{print_table, processors, table_for_a_page, thousands},
};
use crate::{failure::Failure, output, record::object};

/// Prints the foreground with and without a migration, and the migration without a foreground.
pub fn print(
    sizes: &Sizes,
    server_version: &str,
    report: &Report,
    json: bool,
) -> Result<(), Failure> {
    let alone = median(&report.alone);
    let beside = median(&report.beside);
    let rewriting = median_by(&report.rewritings, |rewriting| rewriting.elapsed);
    if json {
        let report = object([
            ("server_version", server_version.into()),
            ("processors", processors().into()),
            ("rounds", sizes.rounds.into()),
            ("bytes", DOCUMENT_BYTES.into()),
            ("records", sizes.records.into()),
            ("in_flight", IN_FLIGHT.into()),
            ("foreground", to_value(alone)),
            ("foreground_beside_rewriting", to_value(beside)),
            ("rewriting", rewriting_value(rewriting)),
        ]);
        return Ok(output::print_json(&report, false)?);
    }
    let mut table = table_for_a_page();
    table.set_header([
        "YCSB A beside",
        "records/s",
        "ops/s",
        "p50 µs",
        "p99 µs",
        "p99.9 µs",
        "writes p50 µs",
        "p99 µs",
    ]);
    table.add_row(row("nothing", alone));
    table.add_row(row("rewriting, usual rate", beside));
    print_table(table, 1)?;
    Ok(output::print_line(&format!(
        "\nRewriting with nobody there, without limit: {} records/s.\n\
         {} processors, {} records of {} B, {} in flight, {} round(s), server {server_version}.",
        thousands(rewriting.per_second()),
        processors(),
        thousands(sizes.records.into()),
        DOCUMENT_BYTES,
        IN_FLIGHT,
        sizes.rounds,
    ))?)
}

/// The round with the median 99th percentile.
fn median(rounds: &[Foreground]) -> &Foreground {
    median_by(rounds, |round| round.all.value_at_quantile(0.99))
}

fn microseconds(latencies: &Latencies, quantile: f64) -> f64 {
    latencies.value_at_quantile(quantile) as f64 / 1000.0
}

fn ops_per_second(foreground: &Foreground) -> f64 {
    foreground.all.len() as f64 / foreground.elapsed.as_secs_f64()
}

fn row(beside: &str, foreground: &Foreground) -> [String; 8] {
    let time = |latencies, quantile| thousands(microseconds(latencies, quantile));
    let Foreground { all, writes, .. } = foreground;
    let rewriting = foreground.beside.as_ref();
    [
        beside.into(),
        rewriting.map_or("–".into(), |rewriting| thousands(rewriting.per_second())),
        thousands(ops_per_second(foreground)),
        time(all, 0.5),
        time(all, 0.99),
        time(all, 0.999),
        time(writes, 0.5),
        time(writes, 0.99),
    ]
}

fn to_value(foreground: &Foreground) -> Value {
    let Foreground { all, writes, .. } = foreground;
    let rewriting = foreground.beside.as_ref();
    object([
        ("ops", all.len().into()),
        ("ops_per_second", ops_per_second(foreground).into()),
        ("p50_us", microseconds(all, 0.5).into()),
        ("p99_us", microseconds(all, 0.99).into()),
        ("p999_us", microseconds(all, 0.999).into()),
        ("writes_p50_us", microseconds(writes, 0.5).into()),
        ("writes_p99_us", microseconds(writes, 0.99).into()),
        ("rewriting", rewriting.map_or(Value::Nil, rewriting_value)),
    ])
}

fn rewriting_value(rewriting: &Rewriting) -> Value {
    object([
        ("records", rewriting.records.into()),
        ("seconds", rewriting.elapsed.as_secs_f64().into()),
        ("records_per_second", rewriting.per_second().into()),
    ])
}

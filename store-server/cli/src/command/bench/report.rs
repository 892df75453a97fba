//! What is printed: a table that can be pasted into a page, or JSON.

use std::thread;

use comfy_table::{CellAlignment, Table, presets};
use rmpv::Value;

use super::{
    claimed::Rate,
    measured::{Latencies, Measured},
    plan::{Cell, Plan},
    succession::Successor,
};
use crate::{failure::Failure, output, record::object};

/// Prints all cells.
pub fn print(
    plan: &Plan,
    server_version: &str,
    measured: &[(Cell, Vec<Measured>)],
    json: bool,
) -> Result<(), Failure> {
    if json {
        let cells = measured.iter().map(|(cell, rounds)| to_value(cell, rounds));
        let report = object([
            ("server_version", server_version.into()),
            ("processors", processors().into()),
            ("records", plan.records.into()),
            ("rounds", plan.rounds.into()),
            ("seconds", plan.time.as_secs_f64().into()),
            ("cells", Value::Array(cells.collect())),
        ]);
        return Ok(output::print_json(&report, false)?);
    }
    let mut table = table_for_a_page();
    table.set_header([
        "workload",
        "client",
        "bytes",
        "in flight",
        "ops/s",
        "p50 µs",
        "p99 µs",
        "p99.9 µs",
        "syncs/commit",
        "server CPU µs/op",
    ]);
    for (cell, rounds) in measured {
        table.add_row(row(cell, median(rounds)));
    }
    print_table(table, 2)?;
    Ok(output::print_line(&format!(
        "\n{} processors, {} records of each size, {} round(s) of {} s, server {server_version}.",
        processors(),
        plan.records,
        plan.rounds,
        plan.time.as_secs_f64(),
    ))?)
}

/// Prints the restarts and the claimed document.
pub fn print_succession(
    server_version: &str,
    gaps: &[(Successor, Latencies)],
    rates: &[Rate],
    json: bool,
) -> Result<(), Failure> {
    let ms = |gaps: &Latencies, quantile| gaps.value_at_quantile(quantile) as f64 / 1e6;
    if json {
        let restarts = gaps.iter().map(|(successor, gaps)| {
            object([
                ("successor", successor.name().into()),
                ("restarts", gaps.len().into()),
                ("p50_ms", ms(gaps, 0.5).into()),
                ("p99_ms", ms(gaps, 0.99).into()),
                ("longest_ms", ms(gaps, 1.0).into()),
            ])
        });
        let claimed = rates.iter().map(|rate| {
            object([
                ("what", rate.what.into()),
                ("per_second", rate.per_second().into()),
            ])
        });
        let report = object([
            ("server_version", server_version.into()),
            ("processors", processors().into()),
            ("planned_restarts", Value::Array(restarts.collect())),
            ("claimed_document", Value::Array(claimed.collect())),
        ]);
        return Ok(output::print_json(&report, false)?);
    }
    let mut table = table_for_a_page();
    table.set_header([
        "planned restart: the successor",
        "restarts",
        "gap p50 ms",
        "gap p99 ms",
        "longest ms",
    ]);
    for (successor, gaps) in gaps {
        let ms = |quantile| format!("{:.1}", ms(gaps, quantile));
        table.add_row([
            successor.name().into(),
            gaps.len().to_string(),
            ms(0.5),
            ms(0.99),
            ms(1.0),
        ]);
    }
    print_table(table, 1)?;
    output::print_line("")?;
    let mut table = table_for_a_page();
    table.set_header(["claimed document, in Lua", "per second"]);
    for rate in rates {
        table.add_row([rate.what.into(), thousands(rate.per_second())]);
    }
    print_table(table, 1)?;
    Ok(output::print_line(&format!(
        "\n{} processors, server {server_version}.",
        processors()
    ))?)
}

/// A table that can be pasted into a page.
pub fn table_for_a_page() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table
}

/// Prints a table whose columns are numbers, but for the first ones.
pub fn print_table(mut table: Table, words: usize) -> Result<(), Failure> {
    for column in table.column_iter_mut().skip(words) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let text: String = table.lines().map(|line| line + "\n").collect();
    Ok(output::print_text(&text)?)
}

fn row(cell: &Cell, measured: &Measured) -> [String; 10] {
    [
        cell.workload.to_string(),
        cell.client.name().into(),
        cell.size.to_string(),
        cell.in_flight.to_string(),
        thousands(measured.ops_per_second()),
        thousands(measured.latency_us(0.5)),
        thousands(measured.latency_us(0.99)),
        thousands(measured.latency_us(0.999)),
        (measured.syncs_per_commit()).map_or("–".into(), |ratio| format!("{ratio:.4}")),
        format!("{:.1}", measured.server_cpu_us_per_op()),
    ]
}

fn to_value(cell: &Cell, rounds: &[Measured]) -> Value {
    let measured = median(rounds);
    let per_round = rounds.iter().map(|round| round.ops_per_second().into());
    object([
        ("workload", cell.workload.to_string().into()),
        ("client", cell.client.name().to_lowercase().into()),
        ("bytes", cell.size.into()),
        ("in_flight", cell.in_flight.into()),
        ("ops", measured.latencies.len().into()),
        ("ops_per_second", measured.ops_per_second().into()),
        ("p50_us", measured.latency_us(0.5).into()),
        ("p99_us", measured.latency_us(0.99).into()),
        ("p999_us", measured.latency_us(0.999).into()),
        ("commits", measured.server.commits.into()),
        ("syncs", measured.server.syncs.into()),
        (
            "syncs_per_commit",
            measured.syncs_per_commit().map_or(Value::Nil, Into::into),
        ),
        (
            "server_cpu_us_per_op",
            measured.server_cpu_us_per_op().into(),
        ),
        ("rounds_ops_per_second", Value::Array(per_round.collect())),
    ])
}

/// The round with the median speed, whole; of an even number the slower one in the middle.
fn median(rounds: &[Measured]) -> &Measured {
    let mut sorted: Vec<&Measured> = rounds.iter().collect();
    sorted.sort_by(|a, b| a.ops_per_second().total_cmp(&b.ops_per_second()));
    sorted[(sorted.len() - 1) / 2]
}

/// A whole number with its thousands set apart.
pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Processors of this machine.
pub fn processors() -> u64 {
    thread::available_parallelism().map_or(1, |n| n.get() as u64)
}

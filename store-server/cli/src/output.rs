//! What commands print on stdout.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Table, presets};
use rmpv::Value;

use crate::json;

/// Whether a person reads stdout.
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Prints a value as JSON: indented for people, on one line for programs.
pub fn print_json(value: &Value, pretty: bool) -> io::Result<()> {
    print_line(&json::to_string(value, pretty))
}

/// Prints a line.
pub fn print_line(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Prints lines that have their line ends.
pub fn print_text(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// A table without lines.
pub fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table
}

/// Prints a table, flush with the left margin.
pub fn print_table(table: &Table) -> io::Result<()> {
    print_text(&table_text(table))
}

/// Prints names and what they stand for.
pub fn print_rows(rows: impl IntoIterator<Item = (&'static str, String)>) -> io::Result<()> {
    let mut table = plain_table();
    for (name, value) in rows {
        table.add_row([name.to_owned(), value]);
    }
    print_table(&table)
}

/// The lines of a table, flush with the left margin.
pub fn table_text(table: &Table) -> String {
    (table.lines())
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(&line).trim_end()))
        .collect()
}

//! What commands print on stdout.

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
};

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
    writeln!(out, "{}", harmless(line))?;
    out.flush()
}

/// Prints lines that have their line ends.
pub fn print_text(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(harmless(text).as_bytes())?;
    out.flush()
}

/// A text without what a terminal would obey: it may have come from a process, and to that from anybody. (JSON has none of
/// it.)
pub fn harmless(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(obeyed) {
        return text.into();
    }
    text.replace(obeyed, "\u{fffd}").into()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_given_orders() {
        assert_eq!(harmless("a\n\tb é"), "a\n\tb é");
        assert_eq!(
            harmless("\u{1b}[2Jb\r\u{9b}"),
            "\u{fffd}[2Jb\u{fffd}\u{fffd}"
        );
    }
}

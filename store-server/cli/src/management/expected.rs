//! A dry run: which processes it would be.

use stillpoint_proto::v1::{ActionBegun, ProcessRef};

use super::{
    report::Report,
    words::{process_name, processes},
};
use crate::output::{plain_table, table_text};

/// Lists those that would be asked.
#[derive(Debug)]
pub struct Expected;

impl Report for Expected {
    fn begun(&mut self, begun: &ActionBegun) -> String {
        if begun.expected.is_empty() {
            return String::new();
        }
        let count = processes(begun.expected.len());
        format!(
            "{}it would be {count}; nothing was done\n",
            list(&begun.expected)
        )
    }
}

/// Processes as a table.
pub fn list(expected: &[ProcessRef]) -> String {
    let mut table = plain_table();
    table.set_header(["PROCESS", "FENCE", "CODE"]);
    for process in expected {
        table.add_row([
            process_name(process),
            process.fence.to_string(),
            process.code_version.clone(),
        ]);
    }
    table_text(&table)
}

//! `stillpoint mark`: labels this moment, so that the store can be brought back to it by name.

use clap::Args;
use comfy_table::Table;
use rmpv::Value;
use stillpoint_proto::v1::{Mark, MarkLabelRequest};

use super::backup::parse_label;
use crate::{
    failure::Failure,
    json,
    management::{options::user, words::moment},
    output::{plain_table, print_json, print_line, print_table, print_text},
    port::{AdminPort, DEFAULT_NAMESPACE, parse_namespace},
    record::object,
};

const AFTER_HELP: &str = "\
A label is a commit of its own. `stillpoint restore --to LABEL` brings back what was
committed before it, in all namespaces, from a backup that was taken later. No two
moments of a store have the same label.

Exit codes: 0 done, 1 the store failed, 2 the command line is wrong, 3 the label is
taken.

Examples:
  stillpoint mark before-2.0 --note 'the shop gets new prices'
  stillpoint mark --list
  stillpoint restore --from s3://backups/world1 --to before-2.0 --into ./restored
";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Options {
    /// The label: 1 to 128 of A-Z a-z 0-9 _ . -
    #[arg(value_parser = parse_label, required_unless_present = "list")]
    label: Option<String>,
    /// What is to be said of it
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Who labels it [default: the user of the system]
    #[arg(long = "as", value_name = "NAME")]
    actor: Option<String>,
    /// List the labels instead, newest first
    #[arg(long, conflicts_with_all = ["label", "note", "actor"])]
    list: bool,
    /// Namespace whose commit it is [default: default; of a list: all]
    #[arg(
        long,
        env = "STILLPOINT_NAMESPACE",
        hide_env_values = true,
        value_name = "NAME",
        value_parser = parse_namespace
    )]
    namespace: Option<String>,
    #[command(flatten)]
    port: AdminPort,
}

/// Labels the moment, or lists those that are.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let mut port = options.port.connect()?;
    let Some(label) = options.label else {
        let namespace = options.namespace.unwrap_or_default();
        return list(&port.marks(&namespace)?.marks, json);
    };
    let marked = port.mark_label(MarkLabelRequest {
        namespace: options.namespace.unwrap_or(DEFAULT_NAMESPACE.into()),
        label,
        note: options.note.unwrap_or_default(),
        actor: options.actor.unwrap_or_else(user),
    })?;
    let mark = marked.mark.unwrap_or_default();
    if json {
        let mut fields = fields(&mark);
        fields.push(("seq", marked.seq.into()));
        print_json(&object(fields), false)?;
    } else {
        print_line(&format!(
            "{} is {}, revision {} of namespace {}, commit {}",
            mark.label,
            moment(mark.time_ms),
            mark.revision,
            mark.namespace,
            marked.seq
        ))?;
    }
    Ok(())
}

fn list(marks: &[Mark], json: bool) -> Result<(), Failure> {
    if json {
        let lines = marks
            .iter()
            .map(|mark| json::to_string(&object(fields(mark)), false) + "\n");
        return Ok(print_text(&lines.collect::<String>())?);
    }
    if marks.is_empty() {
        eprintln!("no labels");
        return Ok(());
    }
    Ok(print_table(&table(marks))?)
}

fn table(marks: &[Mark]) -> Table {
    let mut table = plain_table();
    table.set_header(["LABEL", "WHEN", "COMMIT", "WHO", "NOTE"]);
    for mark in marks {
        table.add_row([
            mark.label.clone(),
            moment(mark.time_ms),
            format!("{}@{}", mark.namespace, mark.revision),
            mark.actor.clone(),
            mark.note.clone(),
        ]);
    }
    table
}

fn fields(mark: &Mark) -> Vec<(&'static str, Value)> {
    vec![
        ("label", mark.label.as_str().into()),
        ("namespace", mark.namespace.as_str().into()),
        ("revision", mark.revision.into()),
        ("time_ms", mark.time_ms.into()),
        ("note", mark.note.as_str().into()),
        ("actor", mark.actor.as_str().into()),
    ]
}

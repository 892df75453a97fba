//! `stillpoint del`: deletes a record.

use clap::Args;
use stillpoint_proto::v1::{DeleteOp, Predicate, op, op_result, predicate::Test};

use crate::{
    address::Address,
    failure::Failure,
    output,
    port::{DataPort, call, unexpected},
    record::object,
};

const AFTER_HELP: &str = "\
Prints the revision of the deletion. Ends with 3 if there is no such record, or
if --if-rev does not hold.

Examples:
  stillpoint del player/42
  stillpoint del player/42 --if-rev 17
";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Options {
    /// The record, e.g. player/42
    #[arg(value_name = "COLLECTION/KEY")]
    record: Address,
    /// Delete only if the record is at this revision
    #[arg(long, value_name = "REV")]
    if_rev: Option<u64>,
    #[command(flatten)]
    port: DataPort,
}

/// Deletes the record and prints the revision.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let guard = options.if_rev.map(|rev| Predicate {
        test: Some(Test::ModRev(rev)),
    });
    let delete = DeleteOp {
        key: Some(options.record.clone().into()),
        guards: guard.into_iter().collect(),
    };
    let answer = call(&options.port.connect()?, op::Kind::Delete(delete))?;
    let op_result::Kind::Delete(result) = answer else {
        return Err(unexpected(&answer));
    };
    if !result.existed {
        return Err(Failure::not_found(&options.record));
    }
    if !json {
        return Ok(output::print_line(&result.revision.to_string())?);
    }
    let result = object([("rev", result.revision.into())]);
    Ok(output::print_json(&result, false)?)
}

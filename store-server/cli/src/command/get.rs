//! `stillpoint get`: prints a record.

use clap::Args;
use rmpv::Value;
use stillpoint_proto::v1::{Claim, GetOp, op, op_result};

use crate::{
    address::Address,
    failure::Failure,
    json, output,
    port::{DataPort, call, unexpected},
    record::{object, record_value},
};

const AFTER_HELP: &str = "\
Prints the value as JSON: indented on a terminal, else (or with --json) on one
line. Ends with 3 if there is no such record. A key's bytes that cannot be typed
are written %XX, and % itself %25. A record can be owned before it exists.

Examples:
  stillpoint get player/42
  stillpoint get --meta player/42
  stillpoint get 'blob/%00%FF'
  stillpoint get --owner player/42
  stillpoint get --raw --meta player/42
";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Options {
    /// The record, e.g. player/42
    #[arg(value_name = "COLLECTION/KEY")]
    record: Address,
    /// Print {"value", "rev", "version", "create_rev", and if set "schema", "expires_at_ms"}
    #[arg(long)]
    meta: bool,
    /// Give the value as it is stored, of whatever version of its schema, which is told on stderr
    #[arg(long, conflicts_with = "owner")]
    raw: bool,
    /// Print who owns the record instead: {"service", "instance", "token", "session_id"}; ends with 3 if nobody does
    #[arg(long, conflicts_with = "meta")]
    owner: bool,
    #[command(flatten)]
    port: DataPort,
}

/// Prints the record.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let client = options.port.connect()?;
    let key = Some(options.record.clone().into());
    let answer = call(
        &client,
        op::Kind::Get(GetOp {
            key,
            with_claim: options.owner,
            raw: options.raw,
        }),
    )?;
    let op_result::Kind::Get(result) = answer else {
        return Err(unexpected(&answer));
    };
    let pretty = !json && output::is_terminal();
    if options.owner {
        let claim = (result.claim).ok_or_else(|| Failure::not_owned(&options.record))?;
        return Ok(output::print_json(&owner_value(&claim), pretty)?);
    }
    let record = (result.record).ok_or_else(|| Failure::not_found(&options.record))?;
    if options.raw && !options.meta && !json {
        eprintln!("schema {}", record.schema);
    }
    let value = if options.meta {
        record_value(&record)
    } else {
        json::from_msgpack(&record.value)
    };
    let value = value.map_err(Failure::operation)?;
    Ok(output::print_json(&value, pretty)?)
}

fn owner_value(claim: &Claim) -> Value {
    object([
        ("service", claim.service.as_str().into()),
        ("instance", claim.instance.as_str().into()),
        ("token", claim.token.into()),
        ("session_id", claim.session_id.as_str().into()),
    ])
}

//! `stillpoint put`: writes a record.

use std::{io::Read, time::Duration};

use clap::Args;
use rmpv::Value;
use stillpoint_proto::v1::{Predicate, PutOp, op, op_result, predicate::Test};

use crate::{
    address::Address,
    failure::Failure,
    json, output,
    port::{DataPort, call, parse_time, unexpected},
    record::object,
};

const AFTER_HELP: &str = "\
Prints the record's new revision. Ends with 3, and changes nothing, if --if-rev
or --if-absent does not hold.

Values are JSON. A number without decimal point and exponent is an integer of 64
bits, any other a float. What JSON lacks is written as an object with one key:
  {\"$bin\": \"AP8=\"}           bytes, in base64
  {\"$str\": \"/w==\"}           a string that is not UTF-8, in base64
  {\"$ext\": [7, \"AP8=\"]}      a MessagePack extension: type, bytes
  {\"$f32\": 1.5}              a float of 32 bits
  {\"$float\": \"nan\"}          a float that is no number: nan, inf, -inf
  {\"$map\": [[1, \"one\"]]}     a map with keys that are no strings

Examples:
  stillpoint put player/42 '{\"name\": \"Ann\", \"gold\": 100}'
  stillpoint put player/42 @ann.json --if-rev 17
  stillpoint get player/42 | jq '.gold += 1' | stillpoint put player/42 -
  stillpoint put login/ann '\"token\"' --ttl 60s --if-absent
  stillpoint put player/42 @ann.json --schema 2
";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Options {
    /// The record, e.g. player/42
    #[arg(value_name = "COLLECTION/KEY")]
    record: Address,
    /// The value as JSON; @FILE reads it from a file, - from stdin
    #[arg(allow_negative_numbers = true)]
    value: String,
    /// Write only if the record is at this revision
    #[arg(long, value_name = "REV", conflicts_with = "if_absent")]
    if_rev: Option<u64>,
    /// Write only if there is no such record
    #[arg(long)]
    if_absent: bool,
    /// Let the record expire after this time, e.g. 60s
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    ttl: Option<Duration>,
    /// The version of its schema that the value has [default: the newest]
    #[arg(long, value_name = "N")]
    schema: Option<u32>,
    #[command(flatten)]
    port: DataPort,
}

/// Writes the record and prints its revision.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let value = read_value("the value", &options.value)?;
    let guard = if options.if_absent {
        Some(Test::Exists(false))
    } else {
        options.if_rev.map(Test::ModRev)
    };
    let put = PutOp {
        key: Some(options.record.into()),
        value: json::to_msgpack(&value).into(),
        guards: guard
            .map(|test| Predicate { test: Some(test) })
            .into_iter()
            .collect(),
        ttl_ms: options.ttl.map_or(0, millis),
        schema: options.schema,
    };
    let answer = call(&options.port.connect()?, op::Kind::Put(put))?;
    let op_result::Kind::Put(result) = answer else {
        return Err(unexpected(&answer));
    };
    if !json {
        return Ok(output::print_line(&result.mod_rev.to_string())?);
    }
    let result = object([
        ("rev", result.mod_rev.into()),
        ("version", result.version.into()),
    ]);
    Ok(output::print_json(&result, false)?)
}

/// A time in whole milliseconds.
pub fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

/// Reads the JSON that an argument is or names; `what` it is called when it is wrong.
pub fn read_value(what: &str, argument: &str) -> Result<Value, Failure> {
    let (place, text) = match argument {
        "-" => ("stdin".to_owned(), read_text("-")?),
        _ => match argument.strip_prefix('@') {
            Some(path) => (path.to_owned(), read_text(path)?),
            None => (what.to_owned(), argument.to_owned()),
        },
    };
    json::parse(&text).map_err(|error| {
        let failure = Failure::usage(error).at(place);
        if text == argument {
            failure.hint("a string is written with its quotes: '\"like this\"'")
        } else {
            failure
        }
    })
}

/// Reads a file, or stdin for `-`.
pub fn read_text(path: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = match path {
        "-" => std::io::stdin().read_to_string(&mut text).map(drop),
        _ => std::fs::read_to_string(path).map(|read| text = read),
    };
    read.map_err(|error| Failure::usage(format_args!("cannot read {path}: {error}")))?;
    Ok(text)
}

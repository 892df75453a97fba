//! `stillpoint txn`: a transaction from a JSON document.

use clap::Args;
use rmpv::Value;
use stillpoint_proto::v1::{OpResult, TxnResult, op, op_result};

use self::document::read_transaction;
use super::put::read_text;
use crate::{
    failure::Failure,
    json, output,
    port::{DataPort, call, unexpected},
    record::{object, record_value},
};

mod document;

const AFTER_HELP: &str = r#"The document says what must hold (`guards`), what is done then, and what is
done otherwise, all as one commit:

  {
    "guards": [
      {"record": "player/42", "exists": true},
      {"record": "player/43", "rev": 17},
      {"record": "player/42", "field": "bag.gold", "is": ">=", "value": 50}
    ],
    "then": [
      {"patch": "player/42", "steps": [
        ["add", "bag.gold", -50, {"min": 0}], ["append", "log", "paid"]
      ]},
      {"put": "player/43", "value": {"gold": 50}, "ttl": "1h"},
      {"del": "offer/7"},
      {"get": "player/42"}
    ],
    "otherwise": [
      {"get": "player/42"}
    ]
  }

Guards: exists (true or false), rev, version, or field with is, which is one of
  = != < <= > >= exists missing
Operations: get; del; put with value, and if wanted ttl, schema; patch with
  steps, and if wanted ttl, schema, create (true: begin with an empty map if the
  record is missing). Schema is the version of it in which all of the operation
  is meant: the newest, unless given. All but get take guards of their own: "guards": [{"rev": 17}]
Steps: ["set", path, value], ["unset", path], ["append", path, value...],
  ["add", path, number, {"min": 0, "max": 9}] (with one bound, both or none),
  ["remove_at", path, position], ["set_insert", path, value],
  ["set_remove", path, value]
Paths: "bag.items[0].n" or ["bag", "items", 0, "n"]; positions count from 0, and
  -1 is the last.
Values: JSON as `stillpoint put --help` explains.

Without `otherwise` a failed guard changes nothing and ends with 3. With it that
branch is done, which is no failure. Prints {"succeeded", "rev", "results"}, one
result per operation done.

Examples:
  stillpoint txn -f trade.json
  echo '{"then": [{"del": "player/42"}, {"del": "player/43"}]}' | stillpoint txn -f -
"#;

/// What was typed.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP, after_help = "The document is explained by `stillpoint txn --help`.")]
pub struct Options {
    /// The document; - is stdin
    #[arg(short, long, value_name = "FILE")]
    file: String,
    #[command(flatten)]
    port: DataPort,
}

/// Does the transaction and prints its results.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let text = read_text(&options.file)?;
    let transaction = json::parse(&text)
        .and_then(|document| read_transaction(&document))
        .map_err(|error| {
            Failure::usage(error)
                .at(&options.file)
                .hint("`stillpoint txn --help` has an example")
        })?;
    let answer = call(&options.port.connect()?, op::Kind::Txn(transaction))?;
    let op_result::Kind::Txn(result) = answer else {
        return Err(unexpected(&answer));
    };
    let value = txn_value(&result).map_err(Failure::operation)?;
    Ok(output::print_json(&value, !json && output::is_terminal())?)
}

fn txn_value(result: &TxnResult) -> Result<Value, String> {
    let results = result.results.iter().map(result_value);
    Ok(object([
        ("succeeded", result.succeeded.into()),
        ("rev", result.revision.into()),
        ("results", Value::Array(results.collect::<Result<_, _>>()?)),
    ]))
}

/// What one operation of the transaction came to.
fn result_value(result: &OpResult) -> Result<Value, String> {
    Ok(match &result.kind {
        Some(op_result::Kind::Get(get)) => match &get.record {
            Some(record) => record_value(record)?,
            None => Value::Nil,
        },
        Some(op_result::Kind::Put(put)) => {
            object([("rev", put.mod_rev.into()), ("version", put.version.into())])
        }
        Some(op_result::Kind::Patch(patch)) => {
            let steps = patch
                .step_results
                .iter()
                .map(|bytes| json::from_msgpack(bytes));
            object([
                ("rev", patch.mod_rev.into()),
                ("version", patch.version.into()),
                ("steps", Value::Array(steps.collect::<Result<_, _>>()?)),
            ])
        }
        Some(op_result::Kind::Delete(delete)) => object([
            ("existed", delete.existed.into()),
            ("rev", delete.revision.into()),
        ]),
        other => return Err(format!("the store answered an operation with {other:?}")),
    })
}

//! Scripts that a reviewer can read. A block is one patch: its steps, one a line, then what each answered and the
//! document after it, which the next block goes on with. With `UPDATE_GOLDENFILES=1` the outcomes are written anew.
//!
//! ```text
//! > doc VALUE                          the document from here on
//! > base 0|1                           number of an array's first element from here on
//! > limits bytes=N nesting=N           the limits from here on
//! > set PATH VALUE
//! > unset PATH
//! > add PATH NUMBER [min=N] [max=N]
//! > append PATH VALUE...
//! > remove_at PATH POSITION
//! > set_insert PATH VALUE
//! > set_remove PATH VALUE
//! > guard PATH COMPARISON [VALUE]      whether the predicate holds for the document before the patch
//! > check HEX                          checks bytes
//! ```

use std::{error::Error, fmt::Write};

use bytes::Bytes;
use goldenscript::{Block, Command, Context};
use stillpoint_proto::v1::{
    AddStep, AppendStep, Comparison, FieldPredicate, PatchOp, PatchStep, Path, RemoveAtStep,
    SetInsertStep, SetRemoveStep, SetStep, StoreError, UnsetStep, patch_step::Kind,
};
use stillpoint_store_server::value::{ValueLimits, check, holds, patch};

use crate::notation::{decode, encode, format, parse, parse_many, parse_path};

macro_rules! scripts {
    ($($name:ident)*) => {
        mod scripts {
            $(#[test]
            fn $name() {
                let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/value/scripts/", stringify!($name));
                goldenscript::run(&mut super::Script::default(), path).unwrap();
            })*
        }
    };
}

scripts! { add append bounds check guard limits missing_places paths remove_at set set_insert set_remove unset wrong_types }

struct Script {
    document: Vec<u8>,
    op: PatchOp,
    limits: ValueLimits,
}

impl Default for Script {
    fn default() -> Self {
        let limits = ValueLimits {
            bytes: 1 << 20,
            nesting: 64,
        };
        Script {
            document: vec![0x80],
            op: PatchOp::default(),
            limits,
        }
    }
}

impl goldenscript::Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let (verb, rest) = command.name.split_once(' ').unwrap_or((&command.name, ""));
        match verb {
            "doc" => {
                self.document = encode(&parse(rest)?);
                check(&self.document, &self.limits)?;
            }
            "base" => self.op.index_base = rest.parse()?,
            "limits" => self.set_limits(rest)?,
            "check" => return Ok(self.check(rest)?),
            "guard" => return Ok(self.guard(rest)?),
            _ => self.op.steps.push(PatchStep {
                kind: Some(step(verb, rest)?),
            }),
        }
        Ok(String::new())
    }

    fn end_block(&mut self, _: &Block) -> Result<String, Box<dyn Error>> {
        if self.op.steps.is_empty() {
            return Ok(String::new());
        }
        let outcome = patch(&self.document, &self.op, &self.limits);
        self.op.steps.clear();
        let patched = match outcome {
            Ok(patched) => patched,
            Err(error) => return Ok(refusal(&error)),
        };
        check(&patched.value, &self.limits)?;
        self.document = patched.value;
        let results = patched
            .step_results
            .iter()
            .map(|result| format(&decode(result)));
        let results = results.collect::<Vec<_>>().join(" ");
        Ok(format!("→ {results}\n{}", format(&decode(&self.document))))
    }
}

impl Script {
    fn set_limits(&mut self, arguments: &str) -> Result<(), Box<dyn Error>> {
        for argument in arguments.split_whitespace() {
            match argument.split_once('=') {
                Some(("bytes", n)) => self.limits.bytes = n.parse()?,
                Some(("nesting", n)) => self.limits.nesting = n.parse()?,
                _ => return Err(format!("unknown limit {argument}").into()),
            }
        }
        Ok(())
    }

    fn check(&self, hex: &str) -> Result<String, String> {
        let digits: String = hex.split_whitespace().collect();
        let rmpv::Value::Binary(bytes) = parse(&format!("h\"{digits}\""))? else {
            return Err(format!("not hex: {hex}"));
        };
        Ok(match check(&bytes, &self.limits) {
            Ok(()) => format!("{}\n", format(&decode(&bytes))),
            Err(error) => refusal(&error),
        })
    }

    fn guard(&self, arguments: &str) -> Result<String, String> {
        let (path, rest) = split_path(arguments)?;
        let (name, value) = rest.split_once(' ').unwrap_or((rest, "null"));
        let comparison = format!("COMPARISON_{}", name.to_uppercase());
        let predicate = FieldPredicate {
            path: Some(path),
            comparison: Comparison::from_str_name(&comparison)
                .ok_or("unknown comparison")?
                .into(),
            value: encode(&parse(value)?).into(),
            index_base: self.op.index_base,
        };
        let mut output = String::new();
        match holds(Some(&self.document), &predicate) {
            Ok(holds) => writeln!(output, "{arguments} → {holds}").map_err(|e| e.to_string())?,
            Err(error) => output = refusal(&error),
        }
        Ok(output)
    }
}

fn step(verb: &str, arguments: &str) -> Result<Kind, String> {
    let (path, rest) = split_path(arguments)?;
    let path = Some(path);
    let value = || parse(rest).map(|value| Bytes::from(encode(&value)));
    Ok(match verb {
        "set" => Kind::Set(SetStep {
            path,
            value: value()?,
        }),
        "unset" => Kind::Unset(UnsetStep { path }),
        "add" => Kind::Add(add(path, rest)?),
        "append" => {
            let values = parse_many(rest)?
                .iter()
                .map(|value| encode(value).into())
                .collect();
            Kind::Append(AppendStep { path, values })
        }
        "remove_at" => {
            let position = rest
                .parse()
                .map_err(|_| format!("not a position: {rest}"))?;
            Kind::RemoveAt(RemoveAtStep { path, position })
        }
        "set_insert" => Kind::SetInsert(SetInsertStep {
            path,
            value: value()?,
        }),
        "set_remove" => Kind::SetRemove(SetRemoveStep {
            path,
            value: value()?,
        }),
        _ => return Err(format!("unknown command {verb}")),
    })
}

fn add(path: Option<Path>, arguments: &str) -> Result<AddStep, String> {
    let mut step = AddStep {
        path,
        ..Default::default()
    };
    for argument in arguments.split_whitespace() {
        let (field, value) = match argument.split_once('=') {
            Some(("min", value)) => (&mut step.min, value),
            Some(("max", value)) => (&mut step.max, value),
            _ => (&mut step.delta, argument),
        };
        *field = encode(&parse(value)?).into();
    }
    Ok(step)
}

fn split_path(arguments: &str) -> Result<(Path, &str), String> {
    let (path, rest) = arguments.split_once(' ').unwrap_or((arguments, ""));
    Ok((parse_path(path)?, rest.trim()))
}

fn refusal(error: &StoreError) -> String {
    format!("{error}\n")
}

//! The store: what each operation answers, with revisions and errors.
//!
//! ```text
//! > put KEY [OPTIONS] VALUE
//! > patch KEY [OPTIONS] STEP ; STEP...     steps: set PATH VALUE, unset PATH, add PATH N [min=N] [max=N], append PATH VALUE...
//! > delete KEY [OPTIONS]
//! > get KEY
//! > batch KEY...
//! > scan [prefix=K] [start=K] [end=K] [limit=N] [reverse] [keys_only]
//! > begin                                  begins a transaction; what follows is kept for it:
//! > if KEY OPTION                            a guard
//! > then OPERATION                           what is done if all guards hold
//! > else OPERATION                           what is done if not
//! > commit                                 does it
//! > write SEQUENCE FIRST_INCOMPLETE OPERATION   a write with an idempotency key
//! > gone KEY                               waits until a record has expired
//! > reopen                                 stops the store and opens it again
//! > rebuild                                the same, without the view
//! > status
//!
//! options: if_absent if_exists if_rev=N if_version=N if=PATH<NUMBER (also <= > >= == !=) ttl=MS schema=N create return
//! ```

use std::{error::Error, sync::Arc};

use bytes::Bytes;
use goldenscript::{Command, Context};
use stillpoint_proto::v1::{
    AddStep, AppendStep, BatchGetOp, Comparison, DeleteOp, Durability, FieldPredicate, GetOp,
    Guard, Op, OpResult, PatchOp, PatchStep, Predicate, PutOp, Record, ScanOp, SetStep, StoreError,
    TxnOp, UnsetStep, op, op_result::Kind, patch_step, predicate::Test,
};
use stillpoint_store_server::{
    config::{Config, EngineKind},
    store::{
        Store,
        request::{Job, WriteItem, WriterKey},
    },
};
use tempfile::TempDir;

use crate::{
    common::{NAMESPACE, config, key, op, value},
    notation,
};

macro_rules! scripts {
    ($($name:ident)*) => {
        mod scripts {
            $(mod $name {
                use stillpoint_store_server::config::EngineKind;

                #[test]
                fn sled() {
                    super::super::run(stringify!($name), EngineKind::Sled);
                }

                #[test]
                fn memory() {
                    super::super::run(stringify!($name), EngineKind::Memory);
                }
            })*
        }
    };
}

scripts! { put_get_delete guards patch txn ttl scan dedup restart invalid }

fn run(name: &str, engine: EngineKind) {
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/store/scripts/store");
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path(), engine);
    config.log.dedup_entries = 4;
    config.limits.scan_page = 4;
    config.limits.batch_ops = 7;
    config.limits.value_bytes = 400;
    let mut script = Script {
        store: Some(Store::open(config.clone()).unwrap()),
        config,
        txn: None,
        _dir: dir,
    };
    goldenscript::run(&mut script, format!("{scripts}/{name}")).unwrap();
}

struct Script {
    store: Option<Store>,
    config: Config,
    txn: Option<TxnOp>,
    _dir: TempDir,
}

type Outcome = Result<String, Box<dyn Error>>;

impl goldenscript::Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Outcome {
        let (verb, rest) = split(&command.name);
        match verb {
            "begin" => self.txn = Some(TxnOp::default()),
            "if" | "then" | "else" => self.part_of_txn(verb, rest)?,
            "commit" => {
                let txn = self.txn.take().ok_or("no transaction was begun")?;
                return self.execute(op(op::Kind::Txn(txn)));
            }
            "write" => return self.write(rest),
            "gone" => {
                let get = parse_op(&format!("get {rest}"))?;
                while self.execute(get.clone())? != "missing" {}
            }
            "reopen" => self.reopen(false)?,
            "rebuild" => self.reopen(true)?,
            "status" => return self.status(),
            _ => return self.execute(parse_op(&command.name)?),
        }
        Ok(String::new())
    }
}

impl Script {
    fn store(&self) -> Result<&Store, Box<dyn Error>> {
        self.store.as_ref().ok_or_else(|| "no store is open".into())
    }

    fn execute(&self, op: Op) -> Outcome {
        Ok(match self.store()?.execute(NAMESPACE, op) {
            Ok(kind) => show(&kind),
            Err(error) => show_error(&error),
        })
    }

    fn part_of_txn(&mut self, verb: &str, rest: &str) -> Result<(), Box<dyn Error>> {
        let txn = self.txn.as_mut().ok_or("no transaction was begun")?;
        match verb {
            "then" => txn.then.push(parse_op(rest)?),
            "else" => txn.otherwise.push(parse_op(rest)?),
            _ => {
                let (name, option) = split(rest);
                txn.guards.push(Guard {
                    key: key("c", name.to_owned()),
                    predicate: Options::parse(option)?.0.guards.pop(),
                });
            }
        }
        Ok(())
    }

    fn write(&self, rest: &str) -> Outcome {
        let (sequence, rest) = split(rest);
        let (first_incomplete, rest) = split(rest);
        let (sender, receiver) = crossbeam_channel::bounded(1);
        self.store()?.submit(Job {
            namespace: Arc::from(NAMESPACE),
            session: Arc::from(""),
            fence: 0,
            items: vec![WriteItem {
                op: parse_op(rest)?,
                writer: Some(WriterKey {
                    id: Bytes::from_static(b"writer"),
                    sequence: sequence.parse()?,
                    first_incomplete: first_incomplete.parse()?,
                }),
                once: None,
                durability: Durability::Unspecified,
                deadline: None,
            }],
            reply: Box::new(move |answers| drop(sender.send(answers))),
        });
        let result = receiver.recv()?.results.remove(0);
        Ok(show(&result.kind.ok_or("an empty result")?))
    }

    fn reopen(&mut self, without_view: bool) -> Result<(), Box<dyn Error>> {
        if let Some(store) = self.store.take() {
            store.close();
        }
        let view = self.config.data_dir.join("view");
        if without_view && view.exists() {
            std::fs::remove_dir_all(view)?;
        }
        self.store = Some(Store::open(self.config.clone())?);
        Ok(())
    }

    fn status(&self) -> Outcome {
        let namespaces = self.store()?.status().namespaces;
        let lines = namespaces.iter().map(|n| {
            format!(
                "{}: revision {}, {} records",
                n.namespace, n.revision, n.records
            )
        });
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }
}

fn split(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    (word, rest.trim_start())
}

/// What stands between a key and a value.
#[derive(Default)]
struct Options {
    guards: Vec<Predicate>,
    ttl_ms: Option<u64>,
    schema: u32,
    create: bool,
    return_record: bool,
}

impl Options {
    /// Reads options as far as they go; gives what is behind them.
    fn parse(mut text: &str) -> Result<(Options, &str), Box<dyn Error>> {
        let mut options = Options::default();
        loop {
            let (word, rest) = split(text);
            let (name, argument) = word.split_once('=').unwrap_or((word, ""));
            let test = match name {
                "if_absent" => Some(Test::Exists(false)),
                "if_exists" => Some(Test::Exists(true)),
                "if_rev" => Some(Test::ModRev(argument.parse()?)),
                "if_version" => Some(Test::Version(argument.parse()?)),
                "if" => Some(Test::Field(comparison(argument)?)),
                _ => None,
            };
            match name {
                _ if test.is_some() => options.guards.push(Predicate { test }),
                "ttl" => options.ttl_ms = Some(argument.parse()?),
                "schema" => options.schema = argument.parse()?,
                "create" => options.create = true,
                "return" => options.return_record = true,
                _ => return Ok((options, text)),
            }
            text = rest;
        }
    }
}

/// `gold>=5`.
fn comparison(text: &str) -> Result<FieldPredicate, Box<dyn Error>> {
    let at = text.find(['<', '>', '=', '!']).ok_or("no comparison")?;
    let (path, rest) = text.split_at(at);
    let end = rest.find(|c| !"<>=!".contains(c)).unwrap_or(rest.len());
    let (operator, number) = rest.split_at(end);
    let comparison = match operator {
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        "==" => Comparison::Equal,
        "!=" => Comparison::NotEqual,
        other => return Err(format!("unknown comparison {other}").into()),
    };
    Ok(FieldPredicate {
        path: Some(notation::parse_path(path)?),
        comparison: comparison.into(),
        value: value(number),
        index_base: 0,
    })
}

fn parse_op(text: &str) -> Result<Op, Box<dyn Error>> {
    let (verb, rest) = split(text);
    let (name, arguments) = split(rest);
    let named = || key("c", name.to_owned());
    let (options, tail) = Options::parse(arguments)?;
    Ok(op(match verb {
        "put" => op::Kind::Put(PutOp {
            key: named(),
            value: value(tail),
            guards: options.guards,
            ttl_ms: options.ttl_ms.unwrap_or(0),
            schema: Some(options.schema),
        }),
        "patch" => op::Kind::Patch(PatchOp {
            key: named(),
            steps: tail
                .split(" ; ")
                .map(parse_step)
                .collect::<Result<_, _>>()?,
            guards: options.guards,
            index_base: 0,
            create: options.create,
            ttl_ms: options.ttl_ms,
            return_record: options.return_record,
            schema: None,
        }),
        "delete" => op::Kind::Delete(DeleteOp {
            key: named(),
            guards: options.guards,
        }),
        "get" => op::Kind::Get(GetOp {
            key: named(),
            with_claim: false,
            raw: false,
        }),
        "batch" => op::Kind::BatchGet(BatchGetOp {
            keys: rest
                .split_whitespace()
                .filter_map(|name| key("c", name.to_owned()))
                .collect(),
            raw: false,
        }),
        "scan" => op::Kind::Scan(parse_scan(rest)?),
        _ => return Err(format!("unknown operation {text}").into()),
    }))
}

fn parse_step(text: &str) -> Result<PatchStep, Box<dyn Error>> {
    let (verb, rest) = split(text.trim());
    let (path, argument) = split(rest);
    let path = Some(notation::parse_path(path)?);
    let kind = match verb {
        "set" => patch_step::Kind::Set(SetStep {
            path,
            value: value(argument),
        }),
        "unset" => patch_step::Kind::Unset(UnsetStep { path }),
        "append" => patch_step::Kind::Append(AppendStep {
            path,
            values: notation::parse_many(argument)?
                .iter()
                .map(|value| notation::encode(value).into())
                .collect(),
        }),
        "add" => {
            let mut words = argument.split_whitespace();
            let mut add = AddStep {
                path,
                delta: value(words.next().ok_or("add what?")?),
                ..AddStep::default()
            };
            for word in words {
                match word.split_once('=') {
                    Some(("min", number)) => add.min = value(number),
                    Some(("max", number)) => add.max = value(number),
                    _ => return Err(format!("unknown bound {word}").into()),
                }
            }
            patch_step::Kind::Add(add)
        }
        other => return Err(format!("unknown step {other}").into()),
    };
    Ok(PatchStep { kind: Some(kind) })
}

fn parse_scan(text: &str) -> Result<ScanOp, Box<dyn Error>> {
    let mut scan = ScanOp {
        collection: "c".into(),
        ..ScanOp::default()
    };
    for word in text.split_whitespace() {
        let (name, argument) = word.split_once('=').unwrap_or((word, ""));
        let bytes = || Bytes::from(argument.to_owned());
        match name {
            "prefix" => scan.prefix = bytes(),
            "start" => scan.start = bytes(),
            "end" => scan.end = bytes(),
            "limit" => scan.limit = argument.parse()?,
            "reverse" => scan.reverse = true,
            "keys_only" => scan.keys_only = true,
            _ => return Err(format!("unknown option {word}").into()),
        }
    }
    Ok(scan)
}

fn show(kind: &Kind) -> String {
    match kind {
        Kind::Get(get) => show_record(get.record.as_ref()),
        Kind::BatchGet(batch) => {
            let lines = batch.results.iter().map(|r| show_record(r.record.as_ref()));
            format!(
                "{}\nat revision {}",
                lines.collect::<Vec<_>>().join("\n"),
                batch.revision
            )
        }
        Kind::Put(put) => format!("revision {}, version {}", put.mod_rev, put.version),
        Kind::Patch(patch) => {
            let results = patch.step_results.iter();
            let results = results.map(|r| notation::format(&notation::decode(r)));
            let record = patch.record.as_ref();
            format!(
                "revision {}, version {} → {}{}",
                patch.mod_rev,
                patch.version,
                results.collect::<Vec<_>>().join(" "),
                record.map_or(String::new(), |r| format!("\n{}", show_record(Some(r))))
            )
        }
        Kind::Delete(delete) if delete.existed => format!("deleted, revision {}", delete.revision),
        Kind::Delete(_) => "was missing".into(),
        Kind::Txn(txn) => {
            let what = if txn.succeeded { "then" } else { "else" };
            let results = txn.results.iter().map(show_result);
            let lines =
                std::iter::once(format!("{what}, revision {}", txn.revision)).chain(results);
            lines.collect::<Vec<_>>().join("\n")
        }
        Kind::Scan(page) => {
            let mut lines: Vec<String> = page
                .entries
                .iter()
                .map(|e| {
                    format!(
                        "{}: {}",
                        e.key.escape_ascii(),
                        show_record(e.record.as_ref())
                    )
                })
                .collect();
            if page.more {
                lines.push(format!("more from {}", page.next_key.escape_ascii()));
            }
            lines.push(format!("at revision {}", page.revision));
            lines.join("\n")
        }
        Kind::Error(error) => show_error(error),
        other => format!("{other:?}"),
    }
}

fn show_result(result: &OpResult) -> String {
    result.kind.as_ref().map_or_else(|| "nothing".into(), show)
}

fn show_record(record: Option<&Record>) -> String {
    let Some(record) = record else {
        return "missing".into();
    };
    let value = if record.value.is_empty() {
        "(no value)".into()
    } else {
        notation::format(&notation::decode(&record.value))
    };
    let mut text = format!(
        "{value}  created {}, revision {}, version {}",
        record.create_rev, record.mod_rev, record.version
    );
    if record.schema > 0 {
        text += &format!(", schema {}", record.schema);
    }
    if record.expires_at_ms > 0 {
        text += ", expires";
    }
    text
}

fn show_error(error: &StoreError) -> String {
    let mut text = error.to_string();
    if let Some(current) = &error.current {
        text += &format!("\nit is {}", show_record(Some(current)));
    }
    text
}

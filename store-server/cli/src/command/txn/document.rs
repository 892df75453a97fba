//! The JSON document of a transaction, read into the contract's messages. Messages name the place: `then[2].steps[0]`.

use bytes::Bytes;
use rmpv::Value;
use stillpoint_proto::v1::{
    AddStep, AppendStep, Comparison, DeleteOp, FieldPredicate, GetOp, Guard, Op, PatchOp,
    PatchStep, Path, PathSegment, Predicate, PutOp, RecordKey, RemoveAtStep, SetInsertStep,
    SetRemoveStep, SetStep, TxnOp, UnsetStep, op, patch_step, path_segment::Segment,
    predicate::Test,
};

use crate::{
    address::Address,
    command::put::millis,
    json,
    port::{operation, parse_time},
};

/// Reads a whole document.
pub fn read_transaction(document: &Value) -> Result<TxnOp, String> {
    let fields = Fields::of(document, "the document", &["guards", "then", "otherwise"])?;
    Ok(TxnOp {
        guards: fields.list("guards", read_guard)?,
        then: fields.list("then", read_operation)?,
        otherwise: fields.list("otherwise", read_operation)?,
    })
}

/// The entries of an object in the document.
struct Fields<'a> {
    place: &'a str,
    entries: &'a [(Value, Value)],
}

impl<'a> Fields<'a> {
    /// An object with no other keys than these.
    fn of(value: &'a Value, place: &'a str, known: &[&str]) -> Result<Self, String> {
        let entries = (value.as_map()).ok_or_else(|| format!("{place} is no JSON object"))?;
        for (key, _) in entries {
            if !key.as_str().is_some_and(|key| known.contains(&key)) {
                return Err(format!(
                    "unknown key {key} in {place}: there are {}",
                    known.join(", ")
                ));
            }
        }
        Ok(Fields { place, entries })
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        let named = |(key, _): &&(Value, Value)| key.as_str() == Some(name);
        self.entries.iter().find(named).map(|(_, value)| value)
    }

    fn need(&self, name: &str) -> Result<&'a Value, String> {
        self.get(name)
            .ok_or_else(|| format!("{} has no {name:?}", self.place))
    }

    /// A field that may be missing, read by `read`; `what` says what it must be.
    fn read<T>(
        &self,
        name: &str,
        what: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let wrong = || format!("{:?} of {} is no {what}", name, self.place);
        (self.get(name))
            .map(|value| read(value).ok_or_else(wrong))
            .transpose()
    }

    /// A list that may be missing, each element read by `read`, which is told its place.
    fn list<T>(
        &self,
        name: &str,
        read: impl Fn(&Value, &str) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        let items = self.read(name, "list", Value::as_array)?;
        let prefix = match self.place {
            "the document" => String::new(),
            place => format!("{place}."),
        };
        let read = |(i, item)| read(item, &format!("{prefix}{name}[{i}]"));
        items.into_iter().flatten().enumerate().map(read).collect()
    }

    fn record(&self, name: &str) -> Result<Option<RecordKey>, String> {
        let text = self.need(name)?.as_str();
        let text = text.ok_or_else(|| format!("{name:?} of {} is no string", self.place))?;
        let address: Address =
            (text.parse()).map_err(|error| format!("{}: {error}", self.place))?;
        Ok(Some(address.into()))
    }

    fn ttl_ms(&self) -> Result<Option<u64>, String> {
        self.read("ttl", "time such as \"60s\"", |value| {
            value
                .as_str()
                .and_then(|text| parse_time(text).ok())
                .map(millis)
        })
    }

    /// The version in which an operation is meant.
    fn schema(&self) -> Result<Option<u32>, String> {
        self.read("schema", "schema number", |value| {
            value.as_u64().and_then(|n| u32::try_from(n).ok())
        })
    }
}

const TESTS: [&str; 6] = ["exists", "rev", "version", "field", "is", "value"];

fn read_guard(value: &Value, place: &str) -> Result<Guard, String> {
    let known = [&["record"], &TESTS[..]].concat();
    let fields = Fields::of(value, place, &known)?;
    Ok(Guard {
        key: fields.record("record")?,
        predicate: Some(read_tests(&fields)?),
    })
}

/// A guard of one operation, whose record is the operation's.
fn read_predicate(value: &Value, place: &str) -> Result<Predicate, String> {
    read_tests(&Fields::of(value, place, &TESTS)?)
}

fn read_tests(fields: &Fields<'_>) -> Result<Predicate, String> {
    let tests = [
        fields
            .read("exists", "true or false", Value::as_bool)?
            .map(Test::Exists),
        fields
            .read("rev", "revision", Value::as_u64)?
            .map(Test::ModRev),
        fields
            .read("version", "version", Value::as_u64)?
            .map(Test::Version),
        read_field_test(fields)?.map(Test::Field),
    ];
    let mut given = tests.into_iter().flatten();
    match (given.next(), given.next()) {
        (test @ Some(_), None) => Ok(Predicate { test }),
        _ => Err(format!(
            "{} must have one of exists, rev, version, field",
            fields.place
        )),
    }
}

fn read_field_test(fields: &Fields<'_>) -> Result<Option<FieldPredicate>, String> {
    let Some(path) = fields.get("field") else {
        return match fields.get("is").or(fields.get("value")) {
            Some(_) => Err(format!(
                "{} has \"is\" or \"value\" without \"field\"",
                fields.place
            )),
            None => Ok(None),
        };
    };
    let name = fields.need("is")?.as_str().unwrap_or_default();
    let comparison = comparison(name).ok_or_else(|| {
        format!(
            "\"is\" of {} must be one of = != < <= > >= exists missing",
            fields.place
        )
    })?;
    let value = match comparison {
        Comparison::Exists | Comparison::Missing => Bytes::new(),
        _ => encode(fields.need("value")?),
    };
    Ok(Some(FieldPredicate {
        path: Some(read_path(path, fields.place)?),
        comparison: comparison.into(),
        value,
        index_base: 0,
    }))
}

fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        "=" | "==" => Comparison::Equal,
        "!=" => Comparison::NotEqual,
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        "exists" => Comparison::Exists,
        "missing" => Comparison::Missing,
        _ => return None,
    })
}

fn read_operation(value: &Value, place: &str) -> Result<Op, String> {
    let has = |name: &str| {
        let entries = value.as_map().map_or(&[][..], |entries| entries.as_slice());
        entries.iter().any(|(key, _)| key.as_str() == Some(name))
    };
    let kind = if has("get") {
        let fields = Fields::of(value, place, &["get"])?;
        op::Kind::Get(GetOp {
            key: fields.record("get")?,
            ..GetOp::default()
        })
    } else if has("put") {
        op::Kind::Put(read_put(value, place)?)
    } else if has("patch") {
        op::Kind::Patch(read_patch(value, place)?)
    } else if has("del") {
        let fields = Fields::of(value, place, &["del", "guards"])?;
        op::Kind::Delete(DeleteOp {
            key: fields.record("del")?,
            guards: fields.list("guards", read_predicate)?,
        })
    } else {
        return Err(format!("{place} must have one of get, put, patch, del"));
    };
    Ok(operation(kind))
}

fn read_put(value: &Value, place: &str) -> Result<PutOp, String> {
    let fields = Fields::of(value, place, &["put", "value", "ttl", "schema", "guards"])?;
    Ok(PutOp {
        key: fields.record("put")?,
        value: encode(fields.need("value")?),
        guards: fields.list("guards", read_predicate)?,
        ttl_ms: fields.ttl_ms()?.unwrap_or(0),
        schema: fields.schema()?,
    })
}

fn read_patch(value: &Value, place: &str) -> Result<PatchOp, String> {
    let fields = Fields::of(
        value,
        place,
        &["patch", "steps", "create", "ttl", "schema", "guards"],
    )?;
    fields.need("steps")?;
    let create = fields.read("create", "true or false", Value::as_bool)?;
    Ok(PatchOp {
        key: fields.record("patch")?,
        steps: fields.list("steps", read_step)?,
        guards: fields.list("guards", read_predicate)?,
        index_base: 0,
        create: create.unwrap_or(false),
        ttl_ms: fields.ttl_ms()?,
        return_record: false,
        schema: fields.schema()?,
    })
}

fn read_step(value: &Value, place: &str) -> Result<PatchStep, String> {
    let words = value.as_array().map_or(&[][..], |words| words.as_slice());
    let (Some(name), Some(path)) = (words.first().and_then(Value::as_str), words.get(1)) else {
        return Err(format!("{place} must be [step, path, ...]"));
    };
    let path = Some(read_path(path, place)?);
    let kind = match (name, &words[2..]) {
        ("set", [value]) => patch_step::Kind::Set(SetStep {
            path,
            value: encode(value),
        }),
        ("unset", []) => patch_step::Kind::Unset(UnsetStep { path }),
        ("add", [delta]) => patch_step::Kind::Add(read_add(path, delta, None, place)?),
        ("add", [delta, bounds]) => {
            patch_step::Kind::Add(read_add(path, delta, Some(bounds), place)?)
        }
        ("append", values) if !values.is_empty() => patch_step::Kind::Append(AppendStep {
            path,
            values: values.iter().map(encode).collect(),
        }),
        ("remove_at", [position]) => patch_step::Kind::RemoveAt(RemoveAtStep {
            path,
            position: position
                .as_i64()
                .ok_or_else(|| format!("{place}: position {position} is no integer"))?,
        }),
        ("set_insert", [value]) => patch_step::Kind::SetInsert(SetInsertStep {
            path,
            value: encode(value),
        }),
        ("set_remove", [value]) => patch_step::Kind::SetRemove(SetRemoveStep {
            path,
            value: encode(value),
        }),
        _ => {
            return Err(format!(
                "{place}: {name:?} with {} operands is no step",
                words.len() - 2
            ));
        }
    };
    Ok(PatchStep { kind: Some(kind) })
}

fn read_add(
    path: Option<Path>,
    delta: &Value,
    bounds: Option<&Value>,
    place: &str,
) -> Result<AddStep, String> {
    let number = |value: &Value| match value.is_number() {
        true => Ok(encode(value)),
        false => Err(format!("{place}: {value} is no number")),
    };
    let mut step = AddStep {
        path,
        delta: number(delta)?,
        ..AddStep::default()
    };
    if let Some(bounds) = bounds {
        let bounds = Fields::of(bounds, place, &["min", "max"])?;
        step.min = bounds.get("min").map_or(Ok(Bytes::new()), number)?;
        step.max = bounds.get("max").map_or(Ok(Bytes::new()), number)?;
    }
    Ok(step)
}

/// Reads `"bag.items[0].n"` or `["bag", "items", 0, "n"]`.
fn read_path(value: &Value, place: &str) -> Result<Path, String> {
    let malformed = || {
        format!(
            "{place}: malformed path {value}: write \"bag.items[0].n\" or [\"bag\", \"items\", 0, \"n\"]"
        )
    };
    let segments = match value {
        Value::Array(items) => items.iter().map(read_segment).collect(),
        Value::String(text) => text.as_str().and_then(split_path),
        _ => None,
    };
    let segments = (segments.ok_or_else(malformed)?.into_iter())
        .map(|segment| PathSegment {
            segment: Some(segment),
        })
        .collect();
    Ok(Path { segments })
}

fn read_segment(value: &Value) -> Option<Segment> {
    match value {
        Value::String(text) => text.as_str().map(|text| Segment::Field(text.into())),
        _ => value.as_i64().map(Segment::Number),
    }
}

/// The empty text is the document itself.
fn split_path(text: &str) -> Option<Vec<Segment>> {
    let mut segments = Vec::new();
    if text.is_empty() {
        return Some(segments);
    }
    for (i, part) in text.split('.').enumerate() {
        let (field, mut numbers) = part.split_at(part.find('[').unwrap_or(part.len()));
        match field {
            "" if i > 0 || numbers.is_empty() => return None,
            "" => {}
            _ => segments.push(Segment::Field(field.into())),
        }
        while !numbers.is_empty() {
            let (number, rest) = numbers.strip_prefix('[')?.split_once(']')?;
            segments.push(Segment::Number(number.parse().ok()?));
            numbers = rest;
        }
    }
    Some(segments)
}

fn encode(value: &Value) -> Bytes {
    json::to_msgpack(value).into()
}

#[cfg(test)]
mod tests;

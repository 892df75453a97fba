//! The naive model: a patch of trees, equality of trees, written for plainness alone.

use std::cmp::Ordering;

use rmpv::Value;
use stillpoint_proto::v1::{
    AddStep, PatchOp, Path, Reason, patch_step::Kind, path_segment::Segment,
};

use crate::notation::decode;

/// The document after the patch and what each step answered.
pub type Outcome = Result<(Value, Vec<Value>), Reason>;

/// Does a patch, without limits.
pub fn patch(document: &Value, op: &PatchOp) -> Outcome {
    let mut document = document.clone();
    let steps = op.steps.iter().map(|step| step.kind.as_ref().unwrap());
    let results = steps
        .map(|kind| step(&mut document, op.index_base, kind))
        .collect::<Result<_, _>>()?;
    Ok((document, results))
}

/// Whether two values are equal.
pub fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (Value::Map(a), Value::Map(b)) => {
            let has = |(key, value): &(Value, Value)| {
                b.iter().any(|(k, v)| equal(k, key) && equal(v, value))
            };
            a.len() == b.len() && a.iter().all(has)
        }
        _ => match (number(a), number(b)) {
            (Some(Number::Int(a)), Some(Number::Int(b))) => a == b,
            (Some(Number::Float(a)), Some(Number::Float(b))) => a == b || a.is_nan() && b.is_nan(),
            (Some(a), Some(b)) => compare(a, b) == Some(Ordering::Equal),
            (None, None) => a == b,
            _ => false,
        },
    }
}

/// The order of two numbers or of two strings.
pub fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        _ => compare(number(a)?, number(b)?),
    }
}

/// How many levels of containers a value has.
pub fn levels(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(levels).max().unwrap_or(0),
        Value::Map(entries) => {
            1 + entries
                .iter()
                .map(|(k, v)| levels(k).max(levels(v)))
                .max()
                .unwrap_or(0)
        }
        _ => 0,
    }
}

#[derive(Clone, Copy)]
enum Number {
    Int(i128),
    Float(f64),
}

fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Integer(n) => Some(Number::Int(
            n.as_i64()
                .map_or_else(|| n.as_u64().unwrap().into(), i128::from),
        )),
        Value::F32(n) => Some(Number::Float((*n).into())),
        Value::F64(n) => Some(Number::Float(*n)),
        _ => None,
    }
}

fn compare(a: Number, b: Number) -> Option<Ordering> {
    match (a, b) {
        (Number::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
        (Number::Float(a), Number::Float(b)) => a.partial_cmp(&b),
        (Number::Float(_), Number::Int(_)) => compare(b, a).map(Ordering::reverse),
        (Number::Int(_), Number::Float(b)) if b.is_nan() => None,
        (Number::Int(a), Number::Float(b)) if a < b.ceil() as i128 => Some(Ordering::Less),
        (Number::Int(a), Number::Float(b)) if a > b.floor() as i128 => Some(Ordering::Greater),
        _ => Some(Ordering::Equal),
    }
}

fn step(document: &mut Value, base: u32, kind: &Kind) -> Result<Value, Reason> {
    match kind {
        Kind::Set(step) => {
            let set = |place: &mut Value| {
                *place = decode(&step.value);
                Ok(Value::Nil)
            };
            at(document, &segments(&step.path), base, Some(Value::Nil), set)
        }
        Kind::Unset(step) => {
            let path = segments(&step.path);
            let (last, parents) = path.split_last().ok_or(Reason::Invalid)?;
            let unset = |place: &mut Value| {
                let Value::Map(entries) = place else {
                    return Err(Reason::Invalid);
                };
                let before = entries.len();
                entries.retain(|(key, _)| !equal(key, &key_of(last)));
                Ok((entries.len() < before).into())
            };
            at(document, parents, base, None, unset)
        }
        Kind::Add(step) => at(
            document,
            &segments(&step.path),
            base,
            Some(0.into()),
            |place| add(place, step),
        ),
        Kind::Append(step) => {
            let append = |place: &mut Value| {
                let array = array(place)?;
                array.extend(step.values.iter().map(|value| decode(value)));
                Ok(array.len().into())
            };
            at(
                document,
                &segments(&step.path),
                base,
                Some(Value::Array(vec![])),
                append,
            )
        }
        Kind::RemoveAt(step) => {
            let remove_at = |place: &mut Value| {
                let array = array(place)?;
                let position = position(step.position, base, array.len()).ok_or(Reason::Invalid)?;
                if position == array.len() {
                    return Err(Reason::Invalid);
                }
                Ok(array.remove(position))
            };
            let mut found = false;
            let remove_there = |place: &mut Value| {
                found = true;
                remove_at(place)
            };
            let removed = at(document, &segments(&step.path), base, None, remove_there)?;
            if found {
                Ok(removed)
            } else {
                Err(Reason::Invalid)
            }
        }
        Kind::SetInsert(step) => {
            let value = decode(&step.value);
            let insert = |place: &mut Value| {
                let array = array(place)?;
                let is_new = !array.iter().any(|element| equal(element, &value));
                array.extend(is_new.then(|| value.clone()));
                Ok(is_new.into())
            };
            at(
                document,
                &segments(&step.path),
                base,
                Some(Value::Array(vec![])),
                insert,
            )
        }
        Kind::SetRemove(step) => {
            let value = decode(&step.value);
            let remove = |place: &mut Value| {
                let array = array(place)?;
                let position = array.iter().position(|element| equal(element, &value));
                Ok(position
                    .map(|position| array.remove(position))
                    .is_some()
                    .into())
            };
            at(document, &segments(&step.path), base, None, remove)
        }
    }
}

fn add(place: &mut Value, step: &AddStep) -> Result<Value, Reason> {
    let read = |bytes: &[u8]| match number(&decode(bytes)) {
        Some(Number::Float(f)) if f.is_nan() => Err(Reason::Invalid),
        number => number.ok_or(Reason::Invalid),
    };
    let old = number(place).ok_or(Reason::Invalid)?;
    let sum = match (old, read(&step.delta)?) {
        (Number::Int(a), Number::Int(b)) => Number::Int(a + b),
        (Number::Int(a), Number::Float(b)) => Number::Float(a as f64 + b),
        (Number::Float(a), Number::Int(b)) => Number::Float(a + b as f64),
        (Number::Float(a), Number::Float(b)) => Number::Float(a + b),
    };
    *place = match sum {
        Number::Float(f) if !f.is_finite() => return Err(Reason::Invalid),
        Number::Float(f) => f.into(),
        Number::Int(n) => match (i64::try_from(n), u64::try_from(n)) {
            (Ok(n), _) => n.into(),
            (_, Ok(n)) => n.into(),
            _ => return Err(Reason::Invalid),
        },
    };
    for (bound, beyond) in [(&step.min, Ordering::Less), (&step.max, Ordering::Greater)] {
        if !bound.is_empty() && compare(sum, read(bound)?) == Some(beyond) {
            return Err(Reason::BoundViolation);
        }
    }
    Ok(place.clone())
}

/// Goes where the path leads and does something there. Where nothing is: puts `make` there first; without it, answers
/// false.
fn at(
    value: &mut Value,
    path: &[Segment],
    base: u32,
    make: Option<Value>,
    change: impl FnOnce(&mut Value) -> Result<Value, Reason>,
) -> Result<Value, Reason> {
    let Some((segment, rest)) = path.split_first() else {
        return change(value);
    };
    let made = || match rest {
        [] => make.clone(),
        _ => make.as_ref().map(|_| Value::Map(vec![])),
    };
    let next = match (value, segment) {
        (Value::Map(entries), segment) => {
            let key = key_of(segment);
            let found = entries.iter().position(|(k, _)| equal(k, &key));
            let index = match (found, made()) {
                (Some(index), _) => index,
                (None, Some(made)) => {
                    entries.push((key, made));
                    entries.len() - 1
                }
                (None, None) => return Ok(false.into()),
            };
            &mut entries[index].1
        }
        (Value::Array(elements), Segment::Number(number)) => {
            let position = position(*number, base, elements.len()).ok_or(Reason::Invalid)?;
            if position == elements.len() {
                elements.push(made().ok_or(Reason::Invalid)?);
            }
            &mut elements[position]
        }
        _ => return Err(Reason::Invalid),
    };
    at(next, rest, base, make, change)
}

fn position(number: i64, base: u32, count: usize) -> Option<usize> {
    let position = match number {
        0.. => number.checked_sub(base.into())?,
        _ => number.checked_add(count as i64)?,
    };
    usize::try_from(position)
        .ok()
        .filter(|position| *position <= count)
}

fn array(value: &mut Value) -> Result<&mut Vec<Value>, Reason> {
    match value {
        Value::Array(elements) => Ok(elements),
        _ => Err(Reason::Invalid),
    }
}

fn key_of(segment: &Segment) -> Value {
    match segment {
        Segment::Field(field) => field.as_str().into(),
        Segment::Number(number) => (*number).into(),
    }
}

fn segments(path: &Option<Path>) -> Vec<Segment> {
    let segments = path.iter().flat_map(|path| &path.segments);
    segments
        .map(|segment| segment.segment.clone().unwrap())
        .collect()
}

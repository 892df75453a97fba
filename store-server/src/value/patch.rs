//! Patches: a document and steps in, a document out.
//!
//! Each step finds its place in the bytes and splices new bytes in. All steps are done or, with an error, none: they
//! work on a [`WorkingCopy`], and the document itself is never touched.
//!
//! What a step may rely on: the document passed [`check`](super::check()) when it was written, and each value in a
//! step passes it before it is put in. Hence what comes out would pass it too, as long as size and nesting stay within
//! the limits, which are looked at here; no step makes a key stand twice. A document that is damaged all the same
//! gives an `INTERNAL` error, never a panic.

use std::{cmp::Ordering, ops::Range};

use bytes::Bytes;
use stillpoint_proto::v1::{
    AddStep, PatchOp, PatchStep, Path, Reason, StoreError, patch_step::Kind,
};

use crate::value::{
    canonical::{self, canonical},
    check::{ValueLimits, check_part},
    encode,
    number::Number,
    place::{Container, Missing, NoPlace, Place, Route},
    walk::{Cursor, Malformed, Token},
    working_copy::WorkingCopy,
};

/// A document after a patch.
#[derive(Clone, Debug, PartialEq)]
pub struct Patched {
    /// The document: one MessagePack value.
    pub value: Vec<u8>,
    /// One MessagePack value per step, as `PatchResult` says.
    pub step_results: Vec<Bytes>,
}

/// Does all steps of a patch on a document. Its record, guards and lifetime are the caller's.
///
/// # Errors
///
/// `BOUND_VIOLATION`, `INVALID` and `TOO_LARGE`; the message names the step (from 1), the place and what was found.
pub fn patch(document: &[u8], op: &PatchOp, limits: &ValueLimits) -> Result<Patched, StoreError> {
    let mut patcher = Patcher {
        copy: WorkingCopy::new(document),
        limits,
        index_base: op.index_base,
    };
    let mut step_results = Vec::with_capacity(op.steps.len());
    for (i, step) in op.steps.iter().enumerate() {
        let result = patcher.step(step).map_err(|mut error| {
            error.message = format!("step {}{}: {}", i + 1, patcher.title(step), error.message);
            error
        })?;
        step_results.push(result);
    }
    limits.check_bytes(patcher.copy.bytes().len())?;
    Ok(Patched {
        value: patcher.copy.into_bytes(),
        step_results,
    })
}

struct Patcher<'a> {
    copy: WorkingCopy,
    limits: &'a ValueLimits,
    index_base: u32,
}

impl<'a> Patcher<'a> {
    fn step(&mut self, step: &PatchStep) -> Result<Bytes, StoreError> {
        let Some(kind) = &step.kind else {
            return Err(invalid("it has no kind: set one"));
        };
        let route = self.route(kind)?;
        match kind {
            Kind::Set(step) => self.set(route, &step.value),
            Kind::Unset(_) => self.unset(route),
            Kind::Add(step) => self.add(route, step),
            Kind::Append(step) => self.append(route, &step.values),
            Kind::RemoveAt(step) => self.remove_at(route, step.position),
            Kind::SetInsert(step) => self.set_insert(route, &step.value),
            Kind::SetRemove(step) => self.set_remove(route, &step.value),
        }
    }

    fn set(&mut self, route: Route<'_>, value: &[u8]) -> Result<Bytes, StoreError> {
        let levels = self.check(value)?;
        let place = self.find(route, levels)?;
        self.put(route, place, value)?;
        Ok(Bytes::from_static(encode::NIL))
    }

    fn unset(&mut self, route: Route<'_>) -> Result<Bytes, StoreError> {
        match self.find(route, 0)? {
            Place::Found(found) => match found.slot {
                Some(slot) if slot.container.is_map => {
                    self.copy
                        .remove(&slot.container, slot.start..found.value.end);
                    Ok(boolean(true))
                }
                Some(_) => Err(invalid("an array's elements are removed with remove_at")),
                None => Err(invalid("the document cannot be unset: delete the record")),
            },
            Place::Missing(missing) => unchanged(route, &missing),
        }
    }

    fn add(&mut self, route: Route<'_>, step: &AddStep) -> Result<Bytes, StoreError> {
        let place = self.find(route, 0)?;
        let old = match &place {
            Place::Found(found) => match self.token(&found.value)? {
                Token::Number(number) => number,
                other => return Err(unlike(route, &other, "a number")),
            },
            Place::Missing(_) => Number::Int(0),
        };
        let delta = number("delta", &step.delta)?;
        let new = old
            .plus(delta)
            .map_err(|why| invalid(format!("adding {delta} to {old}: {why}")))?;
        check_bounds(step, delta, new)?;
        let mut value = Vec::with_capacity(9);
        encode::number(&mut value, new);
        self.put(route, place, &value)?;
        Ok(value.into())
    }

    fn append(&mut self, route: Route<'_>, values: &[Bytes]) -> Result<Bytes, StoreError> {
        let mut levels = 0;
        for value in values {
            levels = levels.max(self.check(value)?);
        }
        let place = self.find(route, levels + 1)?;
        let length = self.extend(route, place, values)?;
        let mut result = Vec::with_capacity(5);
        encode::number(&mut result, Number::Int(length.into()));
        Ok(result.into())
    }

    fn remove_at(&mut self, route: Route<'_>, position: i64) -> Result<Bytes, StoreError> {
        let value = match self.find(route, 0)? {
            Place::Found(found) => found.value,
            Place::Missing(missing) => return Err(invalid(route.explain_missing(&missing))),
        };
        let (array, mut cursor) = self.array(route, &value)?;
        let index = match route.position(position, array.count) {
            Some(index) if index < array.count => index,
            _ => {
                let name = route.name(route.depth());
                return Err(invalid(route.no_position(&name, position, array.count)));
            }
        };
        cursor.skip_many(index.into())?;
        let start = cursor.position();
        cursor.skip()?;
        let element = start..cursor.position();
        let removed = Bytes::copy_from_slice(&self.copy.bytes()[element.clone()]);
        self.copy.remove(&array, element);
        Ok(removed)
    }

    fn set_insert(&mut self, route: Route<'_>, value: &Bytes) -> Result<Bytes, StoreError> {
        let levels = self.check(value)?;
        let place = self.find(route, levels + 1)?;
        if let Place::Found(found) = &place {
            let (array, cursor) = self.array(route, &found.value)?;
            if find_equal(array.count, cursor, value)?.is_some() {
                return Ok(boolean(false));
            }
        }
        self.extend(route, place, std::slice::from_ref(value))?;
        Ok(boolean(true))
    }

    fn set_remove(&mut self, route: Route<'_>, value: &[u8]) -> Result<Bytes, StoreError> {
        self.check(value)?;
        let found = match self.find(route, 0)? {
            Place::Found(found) => found,
            Place::Missing(missing) => return unchanged(route, &missing),
        };
        let (array, cursor) = self.array(route, &found.value)?;
        let Some(element) = find_equal(array.count, cursor, value)? else {
            return Ok(boolean(false));
        };
        self.copy.remove(&array, element);
        Ok(boolean(true))
    }

    /// Makes the value stand at the place.
    fn put(&mut self, route: Route<'_>, place: Place, value: &[u8]) -> Result<(), StoreError> {
        match place {
            Place::Found(found) => self.copy.replace(found.value, value),
            Place::Missing(missing) => {
                self.copy
                    .insert(&missing, &route.build(&missing, value), 1)?;
            }
        }
        Ok(())
    }

    /// Adds elements to the array at the place, which it makes where it is missing. Answers its new length.
    fn extend(
        &mut self,
        route: Route<'_>,
        place: Place,
        values: &[Bytes],
    ) -> Result<u32, StoreError> {
        let added = u32::try_from(values.len()).map_err(|_| invalid("too many elements"))?;
        let mut content = Vec::new();
        if let Place::Found(found) = place {
            let (array, _) = self.array(route, &found.value)?;
            content.extend(values.iter().flatten());
            let behind = Missing {
                container: array,
                at: found.value.end,
                depth: route.depth(),
            };
            return self.copy.insert(&behind, &content, added);
        }
        encode::array(&mut content, added);
        content.extend(values.iter().flatten());
        self.put(route, place, &content)?;
        Ok(added)
    }

    /// Finds where a step works; `levels` is how deep what it may put there is nested.
    fn find(&self, route: Route<'_>, levels: usize) -> Result<Place, StoreError> {
        self.limits.check_nesting(route.depth() + levels)?;
        route
            .find(self.copy.bytes())
            .map_err(|no_place| match no_place {
                NoPlace::Blocked(blocked) => invalid(route.explain(&blocked)),
                NoPlace::Malformed(malformed) => malformed.into(),
            })
    }

    /// The array that stands there, and a cursor at its first element.
    fn array(
        &self,
        route: Route<'_>,
        value: &Range<usize>,
    ) -> Result<(Container, Cursor<'_>), StoreError> {
        let mut cursor = Cursor::at(self.copy.bytes(), value.start);
        match cursor.read()? {
            Token::Array(count) => {
                let head = value.start..cursor.position();
                Ok((
                    Container {
                        head,
                        is_map: false,
                        count,
                    },
                    cursor,
                ))
            }
            other => Err(unlike(route, &other, "an array")),
        }
    }

    fn token(&self, value: &Range<usize>) -> Result<Token<'_>, Malformed> {
        Cursor::at(self.copy.bytes(), value.start).read()
    }

    fn check(&self, value: &[u8]) -> Result<usize, StoreError> {
        check_part(value, self.limits, self.index_base)
    }
    fn route<'p>(&self, kind: &'p Kind) -> Result<Route<'p>, StoreError> {
        Route::new(path_of(kind), self.index_base)
    }

    /// What a message calls a step, in brackets.
    fn title(&self, step: &PatchStep) -> String {
        let Some(kind) = &step.kind else {
            return String::new();
        };
        let verb = match kind {
            Kind::Set(_) => "set",
            Kind::Unset(_) => "unset",
            Kind::Add(_) => "add",
            Kind::Append(_) => "append",
            Kind::RemoveAt(_) => "remove_at",
            Kind::SetInsert(_) => "set_insert",
            Kind::SetRemove(_) => "set_remove",
        };
        match self.route(kind) {
            Ok(route) => format!(" ({verb} {})", route.name(route.depth())),
            Err(_) => format!(" ({verb})"),
        }
    }
}

fn path_of(kind: &Kind) -> Option<&Path> {
    match kind {
        Kind::Set(step) => step.path.as_ref(),
        Kind::Unset(step) => step.path.as_ref(),
        Kind::Add(step) => step.path.as_ref(),
        Kind::Append(step) => step.path.as_ref(),
        Kind::RemoveAt(step) => step.path.as_ref(),
        Kind::SetInsert(step) => step.path.as_ref(),
        Kind::SetRemove(step) => step.path.as_ref(),
    }
}

/// A place that does not exist needs no removal. An array's position that does not exist is a mistake all the same.
fn unchanged(route: Route<'_>, missing: &Missing) -> Result<Bytes, StoreError> {
    if missing.container.is_map {
        Ok(boolean(false))
    } else {
        Err(invalid(route.explain_missing(missing)))
    }
}

/// Finds the first of so many elements, from the cursor on, that is equal to the value.
fn find_equal(
    count: u32,
    mut cursor: Cursor<'_>,
    value: &[u8],
) -> Result<Option<Range<usize>>, StoreError> {
    let wanted = canonical(value)?;
    let mut element = Vec::new();
    for _ in 0..count {
        let start = cursor.position();
        element.clear();
        canonical::write(&mut element, &mut cursor)?;
        if element == wanted {
            return Ok(Some(start..cursor.position()));
        }
    }
    Ok(None)
}

fn check_bounds(step: &AddStep, delta: Number, new: Number) -> Result<(), StoreError> {
    for (name, bytes, side, beyond) in [
        ("min", &step.min, "below", Ordering::Less),
        ("max", &step.max, "above", Ordering::Greater),
    ] {
        if bytes.is_empty() {
            continue;
        }
        let bound = number(name, bytes)?;
        if new.compare(bound) == Some(beyond) {
            let message =
                format!("adding {delta} would make it {new}, {side} its {name} of {bound}");
            return Err(StoreError::new(Reason::BoundViolation, message));
        }
    }
    Ok(())
}

/// Reads an argument that has to be a number.
fn number(name: &str, bytes: &[u8]) -> Result<Number, StoreError> {
    let mut cursor = Cursor::new(bytes);
    match cursor.read() {
        Ok(Token::Number(number)) if cursor.remaining() == 0 && !number.is_nan() => Ok(number),
        Ok(Token::Number(number)) if number.is_nan() => Err(invalid(format!("{name} is NaN"))),
        Ok(token) if cursor.remaining() == 0 => {
            Err(invalid(format!("{name} is {}, not a number", token.kind())))
        }
        _ => Err(invalid(format!(
            "{name} has to be exactly one MessagePack number"
        ))),
    }
}

fn unlike(route: Route<'_>, found: &Token<'_>, wanted: &str) -> StoreError {
    let place = route.name(route.depth());
    invalid(format!("{place} is {}, not {wanted}", found.kind()))
}

fn boolean(value: bool) -> Bytes {
    Bytes::from_static(encode::boolean(value))
}

fn invalid(message: impl Into<String>) -> StoreError {
    StoreError::new(Reason::Invalid, message)
}

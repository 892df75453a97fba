//! Whether values are equal, whether one is less, whether a predicate holds.
//!
//! Equality is that of the [`canonical`](super::canonical) form. Only numbers with numbers and strings with strings
//! have an order; NaN is before and behind nothing.

use std::cmp::Ordering;

use stillpoint_proto::v1::{Comparison, FieldPredicate, Reason, StoreError};

use crate::value::{
    canonical::canonical,
    place::{NoPlace, Place, Route},
    walk::{Cursor, Malformed, Token},
};

/// Whether two values are equal: numbers by value whatever their type and width, maps in whatever order their entries
/// are; a string and binary data never.
pub fn equal(a: &[u8], b: &[u8]) -> Result<bool, Malformed> {
    Ok(a == b || canonical(a)? == canonical(b)?)
}

/// The order of two numbers by value, or of two strings by their bytes. None: these values have no order.
pub fn order(a: &[u8], b: &[u8]) -> Result<Option<Ordering>, Malformed> {
    Ok(match (Cursor::new(a).read()?, Cursor::new(b).read()?) {
        (Token::Number(a), Token::Number(b)) => a.compare(b),
        (Token::Str(a), Token::Str(b)) => Some(a.cmp(b)),
        _ => None,
    })
}

/// Whether a place in a record's document (None: the record is missing) compares with a value as the predicate says.
/// A place that is missing, or that cannot be reached through what is there, fails all but NOT_EQUAL and MISSING.
///
/// The predicate's value should have passed [`check`](super::check()), off the writer's path.
///
/// # Errors
///
/// `INVALID` for what is wrong with the predicate; nothing that a well-formed document holds is an error.
pub fn holds(document: Option<&[u8]>, predicate: &FieldPredicate) -> Result<bool, StoreError> {
    let route = Route::new(predicate.path.as_ref(), predicate.index_base)?;
    let invalid = |what: &str| {
        let message = format!("the guard on {} has {what}", route.name(route.depth()));
        StoreError::new(Reason::Invalid, message)
    };
    let found = match document.map(|document| (document, route.find(document))) {
        Some((document, Ok(Place::Found(found)))) => Some(&document[found.value]),
        Some((_, Err(NoPlace::Malformed(malformed)))) => return Err(malformed.into()),
        Some((_, Ok(Place::Missing(_)) | Err(NoPlace::Blocked(_)))) | None => None,
    };
    match (predicate.comparison(), found) {
        (Comparison::Unspecified, _) => Err(invalid("no comparison")),
        (Comparison::Exists, found) => Ok(found.is_some()),
        (Comparison::Missing, found) => Ok(found.is_none()),
        _ if !is_one_value(&predicate.value) => {
            Err(invalid("a value that is not exactly one MessagePack value"))
        }
        (comparison, None) => Ok(comparison == Comparison::NotEqual),
        (comparison, Some(found)) => Ok(compares(found, comparison, &predicate.value)?),
    }
}

fn is_one_value(bytes: &[u8]) -> bool {
    let mut cursor = Cursor::new(bytes);
    cursor.skip().is_ok() && cursor.remaining() == 0
}

fn compares(found: &[u8], comparison: Comparison, value: &[u8]) -> Result<bool, Malformed> {
    let ordered = |wanted: fn(Ordering) -> bool| Ok(order(found, value)?.is_some_and(wanted));
    match comparison {
        Comparison::Equal => equal(found, value),
        Comparison::NotEqual => Ok(!equal(found, value)?),
        Comparison::Less => ordered(Ordering::is_lt),
        Comparison::LessOrEqual => ordered(Ordering::is_le),
        Comparison::Greater => ordered(Ordering::is_gt),
        Comparison::GreaterOrEqual => ordered(Ordering::is_ge),
        Comparison::Exists => Ok(true),
        Comparison::Missing | Comparison::Unspecified => Ok(false),
    }
}

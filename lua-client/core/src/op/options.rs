//! What writes have in common: guards, durability, a name for ever.

use std::os::raw::c_int;

use bytes::Bytes;
use stillpoint_client::v1::{
    Comparison, Durability, FieldPredicate, OnceKey, Predicate, predicate::Test,
};

use crate::{
    codec::refusal::quoted,
    entry::Fault,
    lua,
    op::{
        patch::INDEX_BASE,
        path,
        reader::{Reader, Reject, misuse},
    },
};

/// Reads the options at `at`, if there are any: guards into `guards`, durability and `once` into the reader; the others are
/// offered to `own`, which says whether it knows them.
pub(super) fn read(
    reader: &mut Reader<'_>,
    at: c_int,
    guards: &mut Vec<Predicate>,
    mut own: impl FnMut(&mut Reader<'_>, &[u8], c_int) -> Result<bool, Reject>,
) -> Result<(), Reject> {
    if reader.is_absent(at) {
        return Ok(());
    }
    reader.reserve()?;
    reader.each_field(at, "options", |reader, name, at| {
        let mut guard = |test| guards.push(Predicate { test: Some(test) });
        match name {
            b"if_rev" => guard(Test::ModRev(reader.count(at, "if_rev")?)),
            b"if_version" => guard(Test::Version(reader.count(at, "if_version")?)),
            b"if_absent" if reader.flag(at, "if_absent")? => guard(Test::Exists(false)),
            b"if_exists" if reader.flag(at, "if_exists")? => guard(Test::Exists(true)),
            b"where" => reader.each_item(at, "where", |reader, _, at| {
                let first = reader.spread(at, 1, 3, "where")?;
                guard(Test::Field(read_field(reader, first)?));
                Ok(())
            })?,
            b"durability" => read_durability(reader, at)?,
            b"once" => read_once(reader, at)?,
            // Said to be false, or for the Lua layer.
            b"if_absent" | b"if_exists" | b"deadline" | b"lane" => {}
            _ => {
                if !own(reader, name, at)? {
                    return Err(Fault::Misuse(format!(
                        "stillpoint_core: unknown option {}",
                        quoted(name)
                    ))
                    .into());
                }
            }
        }
        Ok(())
    })
}

/// `{ name = string, since = integer }`: names the write for ever.
pub(super) fn read_once(reader: &mut Reader<'_>, at: c_int) -> Result<(), Reject> {
    let mut once = OnceKey::default();
    reader.each_field(at, "once", |reader, name, at| {
        match name {
            b"name" => once.name = Bytes::copy_from_slice(reader.bytes(at, "name")?),
            b"since" => once.since_revision = reader.count(at, "since")?,
            _ => return Err(misuse("once", "only name and since")),
        }
        Ok(())
    })?;
    reader.once = Some(once);
    Ok(())
}

/// A comparison of a place with a value: path, operator, value from `first` on.
pub(super) fn read_field(reader: &mut Reader<'_>, first: c_int) -> Result<FieldPredicate, Reject> {
    let path = path::read(reader, first)?;
    let operator = match reader.kind(first + 1) {
        lua::LUA_TSTRING => reader.bytes(first + 1, "comparison")?,
        _ => return Err(Reject::invalid("a comparison is { path, operator, value }")),
    };
    let comparison = match operator {
        b"==" => Comparison::Equal,
        b"~=" => Comparison::NotEqual,
        b"<" => Comparison::Less,
        b"<=" => Comparison::LessOrEqual,
        b">" => Comparison::Greater,
        b">=" => Comparison::GreaterOrEqual,
        b"exists" => Comparison::Exists,
        b"missing" => Comparison::Missing,
        _ => {
            return Err(Reject::invalid(format!(
                "unknown comparison {}: use == ~= < <= > >= exists missing",
                quoted(operator)
            )));
        }
    };
    let value = match comparison {
        Comparison::Exists | Comparison::Missing => Default::default(),
        _ => reader.value(first + 2)?,
    };
    Ok(FieldPredicate {
        path: Some(path),
        comparison: comparison.into(),
        value,
        index_base: INDEX_BASE,
    })
}

/// When the write is answered. In a transaction the strictest counts.
pub(super) fn read_durability(reader: &mut Reader<'_>, at: c_int) -> Result<(), Reject> {
    let said = match reader.bytes(at, "durability")? {
        b"applied" => Durability::Applied,
        b"synced" => Durability::Synced,
        _ => return Err(misuse("durability", "\"applied\" or \"synced\"")),
    };
    reader.durability = reader.durability.max(said);
    Ok(())
}

//! The canonical form: equal values have equal bytes.
//!
//! Two values are equal when numbers have the same value whatever their type and width, maps have equal entries in
//! whatever order, and all else has the same content. The form writes everything in its smallest width, a float that
//! is a whole number as an integer, and a map's entries in the order of their keys. NaN equals NaN, so that equality
//! means the same thing for sets and guards as for bytes.
//!
//! It costs a copy. That is cheap next to walking the value, and needs no second set of rules for comparing containers.

use std::ops::Range;

use crate::value::{
    check::NESTING_MAX,
    encode,
    walk::{Cursor, Malformed, Token},
};

/// Appends the canonical form of the value at the cursor, and steps over it.
pub fn write(out: &mut Vec<u8>, cursor: &mut Cursor<'_>) -> Result<(), Malformed> {
    write_nested(out, cursor, NESTING_MAX)
}

/// The canonical form of one value.
pub fn canonical(value: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::with_capacity(value.len());
    write(&mut out, &mut Cursor::new(value))?;
    Ok(out)
}

fn write_nested(
    out: &mut Vec<u8>,
    cursor: &mut Cursor<'_>,
    levels: usize,
) -> Result<(), Malformed> {
    match cursor.read()? {
        Token::Nil => out.extend_from_slice(encode::NIL),
        Token::Bool(value) => out.extend_from_slice(encode::boolean(value)),
        Token::Number(number) => encode::number(out, number.canonical()),
        Token::Str(text) => encode::string(out, text),
        Token::Bin(data) => encode::binary(out, data),
        Token::Ext(kind, data) => encode::extension(out, kind, data),
        Token::Array(count) => {
            let levels = levels.checked_sub(1).ok_or(Malformed::TooDeep)?;
            encode::array(out, count);
            for _ in 0..count {
                write_nested(out, cursor, levels)?;
            }
        }
        Token::Map(count) => {
            let levels = levels.checked_sub(1).ok_or(Malformed::TooDeep)?;
            encode::map(out, count);
            write_entries(out, cursor, count, levels)?;
        }
    }
    Ok(())
}

fn write_entries(
    out: &mut Vec<u8>,
    cursor: &mut Cursor<'_>,
    count: u32,
    levels: usize,
) -> Result<(), Malformed> {
    let begin = out.len();
    let mut entries: Vec<Entry> = Vec::new();
    for _ in 0..count {
        let start = out.len();
        write_nested(out, cursor, levels)?;
        let key_end = out.len();
        write_nested(out, cursor, levels)?;
        entries.push(Entry {
            start,
            key_end,
            end: out.len(),
        });
    }
    if !entries.is_sorted_by_key(|entry| &out[entry.key()]) {
        entries.sort_by(|a, b| out[a.key()].cmp(&out[b.key()]));
        let sorted: Vec<&[u8]> = entries
            .iter()
            .map(|entry| &out[entry.start..entry.end])
            .collect();
        let sorted = sorted.concat();
        out[begin..].copy_from_slice(&sorted);
    }
    Ok(())
}

/// Where a map's entry stands in the output.
struct Entry {
    start: usize,
    key_end: usize,
    end: usize,
}

impl Entry {
    fn key(&self) -> Range<usize> {
        self.start..self.key_end
    }
}

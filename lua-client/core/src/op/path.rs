//! Places in a document: `"bag.items[2].gold"` or `{ "bag", "items", 2, "gold" }`; `""` or `{}` is the whole.

use std::os::raw::c_int;

use stillpoint_client::v1::{Path, PathSegment, path_segment::Segment};

use crate::{
    codec::refusal::quoted,
    lua,
    op::reader::{Reader, Reject},
};

/// Reads the path at `at`.
pub(super) fn read(reader: &mut Reader<'_>, at: c_int) -> Result<Path, Reject> {
    let mut segments = Vec::new();
    match reader.kind(at) {
        lua::LUA_TSTRING => {
            let text = reader.bytes(at, "path")?;
            parse(text, &mut segments)
                .map_err(|why| Reject::invalid(format!("invalid path {}: {why}", quoted(text))))?;
        }
        lua::LUA_TTABLE => reader.each_item(at, "path", |reader, position, at| {
            segments.push(match reader.kind(at) {
                lua::LUA_TSTRING => Segment::Field(reader.text(at, "path segment")?),
                _ => Segment::Number(reader.integer(at, "path segment").map_err(|_| {
                    Reject::invalid(format!(
                        "segment {position} of the path: use strings and whole numbers"
                    ))
                })?),
            });
            Ok(())
        })?,
        _ => return Err(Reject::invalid("a path is a string or a table")),
    }
    let segments = segments
        .into_iter()
        .map(|segment| PathSegment {
            segment: Some(segment),
        })
        .collect();
    Ok(Path { segments })
}

/// Parses the written form; else says what is wrong, counting bytes from 1.
fn parse(text: &[u8], segments: &mut Vec<Segment>) -> Result<(), String> {
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let len = if let Some((number, len)) = parse_number(rest) {
            segments.push(Segment::Number(number));
            len
        } else {
            let len = rest
                .iter()
                .position(|b| b".[]".contains(b))
                .unwrap_or(rest.len());
            if len == 0 {
                return Err(format!("a field or [number] expected at byte {}", at + 1));
            }
            let field = std::str::from_utf8(&rest[..len]).map_err(|_| "it is not UTF-8")?;
            segments.push(Segment::Field(field.to_owned()));
            len
        };
        at += len;
        match text.get(at) {
            Some(b'.') if at + 1 == text.len() => return Err("it ends with a dot".into()),
            Some(b'.') => at += 1,
            Some(b'[') | None => {}
            Some(_) => return Err(format!("'.' or '[' expected at byte {}", at + 1)),
        }
    }
    Ok(())
}

/// `[number]` at the beginning, and its length.
fn parse_number(text: &[u8]) -> Option<(i64, usize)> {
    let inner = text.strip_prefix(b"[")?;
    let len = inner.iter().position(|&b| b == b']')?;
    let digits = std::str::from_utf8(&inner[..len]).ok()?;
    let number = digits.parse().ok().filter(|_| !digits.starts_with('+'))?;
    Some((number, len + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, String> {
        let mut segments = Vec::new();
        parse(text.as_bytes(), &mut segments)?;
        let shown: Vec<_> = segments
            .iter()
            .map(|segment| match segment {
                Segment::Field(field) => field.clone(),
                Segment::Number(number) => format!("#{number}"),
            })
            .collect();
        Ok(shown.join(" "))
    }

    #[test]
    fn paths_are_fields_and_numbers() {
        let cases = [
            ("", Ok("")),
            ("gold", Ok("gold")),
            ("bag.items[2].gold", Ok("bag items #2 gold")),
            ("[1][-1]", Ok("#1 #-1")),
            ("a b.c-d", Ok("a b c-d")),
            ("a.", Err("it ends with a dot")),
            (".a", Err("a field or [number] expected at byte 1")),
            ("a..b", Err("a field or [number] expected at byte 3")),
            ("a[x]", Err("a field or [number] expected at byte 2")),
            ("a[+1]", Err("a field or [number] expected at byte 2")),
            (
                "a[99999999999999999999]",
                Err("a field or [number] expected at byte 2"),
            ),
            ("a[1]b", Err("'.' or '[' expected at byte 5")),
            ("a]", Err("'.' or '[' expected at byte 2")),
        ];
        for (text, expected) in cases {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(shown(text), expected, "{text}");
        }
    }
}

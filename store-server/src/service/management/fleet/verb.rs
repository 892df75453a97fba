//! What is asked of a process in a reload, and what it is handed with that.

use std::time::Duration;

use bytes::Bytes;

use crate::value::{
    encode,
    number::Number,
    walk::{Cursor, Malformed, Token},
};

/// What is asked of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Say what a reload would do.
    Plan,
    /// Make the new generation ready.
    Prepare,
    /// Go over to what was made ready.
    Commit,
    /// Drop what was made ready.
    Abort,
    /// Go back, if the last commit was this reload's.
    Undo,
    /// Go back to the generation before, whatever brought this one.
    Rollback,
    /// Say which program runs.
    Status,
}

impl Verb {
    /// The built-in command.
    pub fn command(self) -> &'static str {
        match self {
            Verb::Plan => "reload.plan",
            Verb::Prepare => "reload.prepare",
            Verb::Commit => "reload.commit",
            Verb::Abort => "reload.abort",
            Verb::Undo | Verb::Rollback => "reload.rollback",
            Verb::Status => "reload.status",
        }
    }

    /// What it is handed: the operator's options where they count, and what the reload goes by. What is prepared is kept
    /// for as long as `hold`.
    pub fn arguments(self, id: &str, options: &Bytes, hold: Duration) -> Bytes {
        let id = Field::Text("id", id);
        match self {
            Verb::Plan | Verb::Rollback => options.clone(),
            Verb::Prepare => {
                let seconds = hold.as_millis().div_ceil(1000) as i128;
                joined(&[id, Field::Number("hold", seconds)], options)
            }
            Verb::Commit | Verb::Abort | Verb::Undo => joined(&[id], &Bytes::new()),
            Verb::Status => Bytes::new(),
        }
    }
}

enum Field<'a> {
    Text(&'a str, &'a str),
    Number(&'a str, i128),
}

impl Field<'_> {
    fn name(&self) -> &[u8] {
        match self {
            Field::Text(name, _) | Field::Number(name, _) => name.as_bytes(),
        }
    }
}

/// A map of these fields, and those of another map that are called otherwise. What is no map has none.
fn joined(fields: &[Field<'_>], options: &Bytes) -> Bytes {
    let more = fields_of(options).unwrap_or_default();
    let more: Vec<_> = more
        .into_iter()
        .filter(|(name, _)| fields.iter().all(|f| f.name() != *name))
        .collect();
    let mut out = Vec::with_capacity(options.len() + 64);
    encode::map(&mut out, (fields.len() + more.len()) as u32);
    for field in fields {
        encode::string(&mut out, field.name());
        match field {
            Field::Text(_, text) => encode::string(&mut out, text.as_bytes()),
            Field::Number(_, number) => encode::number(&mut out, Number::Int(*number)),
        }
    }
    for (_, whole) in more {
        out.extend_from_slice(whole);
    }
    out.into()
}

/// The text of a field's name, and the bytes of name and value.
type Whole<'a> = (&'a [u8], &'a [u8]);

fn fields_of(map: &[u8]) -> Result<Vec<Whole<'_>>, Malformed> {
    let mut cursor = Cursor::new(map);
    let Token::Map(count) = cursor.read()? else {
        return Ok(Vec::new());
    };
    let mut fields = Vec::new();
    for _ in 0..count {
        let begin = cursor.position();
        let name = cursor.read()?;
        cursor.skip_many(name.children())?;
        cursor.skip()?;
        let name = match name {
            Token::Str(name) => name,
            _ => b"",
        };
        fields.push((name, &map[begin..cursor.position()]));
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use rmpv::Value;

    use super::*;

    fn read(bytes: &Bytes) -> Value {
        rmpv::decode::read_value(&mut &bytes[..]).unwrap()
    }

    #[test]
    fn a_preparation_has_the_options_and_what_the_reload_goes_by() {
        let options = Value::Map(vec![
            ("force".into(), Value::Array(vec!["game.shop".into()])),
            ("id".into(), "the operator's".into()),
            (7.into(), true.into()),
        ]);
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, &options).unwrap();
        let arguments = Verb::Prepare.arguments("a1", &bytes.into(), Duration::from_millis(1001));
        let expected = Value::Map(vec![
            ("id".into(), "a1".into()),
            ("hold".into(), 2.into()),
            ("force".into(), Value::Array(vec!["game.shop".into()])),
            (7.into(), true.into()),
        ]);
        assert_eq!(read(&arguments), expected);
    }

    #[test]
    fn options_that_are_no_map_are_left_out() {
        for options in [&b""[..], b"\xc0", b"\x07", b"\x82\xa2id"] {
            let options = Bytes::copy_from_slice(options);
            let arguments = Verb::Commit.arguments("a1", &options, Duration::ZERO);
            assert_eq!(
                read(&arguments),
                Value::Map(vec![("id".into(), "a1".into())])
            );
        }
    }
}

//! A notation for values and paths, for scripts and messages: JSON, plus what MessagePack has beyond it.
//!
//! `null true 1 -2 1.5 nan "text" h"00ff" ext(5, h"01") [1, 2] {"a": 1, 7: "x"}`; a path is `bag.items[0]["a.b"]`.

use std::{fmt::Write, iter::Peekable, str::Chars};

use rmpv::Value;
use stillpoint_proto::v1::{Path, PathSegment, path_segment::Segment};

/// Reads exactly one value.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut reader = Reader(text.chars().peekable());
    let value = reader.value()?;
    reader.blank();
    match reader.0.next() {
        None => Ok(value),
        Some(c) => Err(format!("unexpected {c:?} behind a value in {text:?}")),
    }
}

/// Reads several values with blanks between them.
pub fn parse_many(text: &str) -> Result<Vec<Value>, String> {
    let mut reader = Reader(text.chars().peekable());
    let mut values = Vec::new();
    loop {
        reader.blank();
        if reader.0.peek().is_none() {
            return Ok(values);
        }
        values.push(reader.value()?);
    }
}

/// Reads a path; `.` alone is the document.
pub fn parse_path(text: &str) -> Result<Path, String> {
    let mut segments = Vec::new();
    let mut reader = Reader(text.chars().peekable());
    while let Some(&c) = reader.0.peek() {
        let segment = match c {
            '.' => {
                reader.0.next();
                continue;
            }
            '[' => match reader.array()?.as_slice() {
                [Value::String(field)] => Segment::Field(field.as_str().unwrap_or_default().into()),
                [number] => Segment::Number(number.as_i64().ok_or("not a position")?),
                _ => return Err(format!("not a path: {text}")),
            },
            _ => Segment::Field(reader.word(|c| c.is_alphanumeric() || c == '_')),
        };
        if segment == Segment::Field(String::new()) && c != '[' {
            return Err(format!("not a path: {text}"));
        }
        segments.push(PathSegment {
            segment: Some(segment),
        });
    }
    Ok(Path { segments })
}

/// Writes a value.
pub fn format(value: &Value) -> String {
    match value {
        Value::Nil => "null".into(),
        Value::F32(number) => format!("{number:?}"),
        Value::F64(number) => format!("{number:?}"),
        Value::Binary(bytes) => hex(bytes),
        Value::Ext(kind, bytes) => format!("ext({kind}, {})", hex(bytes)),
        Value::Array(values) => {
            format!(
                "[{}]",
                values.iter().map(format).collect::<Vec<_>>().join(", ")
            )
        }
        Value::Map(entries) => {
            let entry =
                |(key, value): &(Value, Value)| format!("{}: {}", format(key), format(value));
            format!(
                "{{{}}}",
                entries.iter().map(entry).collect::<Vec<_>>().join(", ")
            )
        }
        other => other.to_string(),
    }
}

/// Encodes a value in its smallest form.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, value).unwrap();
    bytes
}

/// Decodes exactly one value.
pub fn decode(mut bytes: &[u8]) -> Value {
    let value = rmpv::decode::read_value(&mut bytes).unwrap();
    assert!(bytes.is_empty(), "bytes are left behind the value");
    value
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("h\"".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    }) + "\""
}

struct Reader<'a>(Peekable<Chars<'a>>);

impl Reader<'_> {
    fn value(&mut self) -> Result<Value, String> {
        self.blank();
        match self.0.peek().copied() {
            Some('"') => Ok(self.text()?.into()),
            Some('[') => Ok(Value::Array(self.array()?)),
            Some('{') => self.map(),
            Some('-' | '0'..='9') => self.number(),
            _ => self.named(),
        }
    }

    fn named(&mut self) -> Result<Value, String> {
        match self.word(char::is_alphabetic).as_str() {
            "null" => Ok(Value::Nil),
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            "nan" => Ok(f64::NAN.into()),
            "inf" => Ok(f64::INFINITY.into()),
            "h" => Ok(Value::Binary(self.bytes()?)),
            "ext" => {
                self.expect('(')?;
                let kind = self
                    .number()?
                    .as_i64()
                    .ok_or("an extension's type is an integer")?;
                self.expect(',')?;
                self.expect('h')?;
                let bytes = self.bytes()?;
                self.expect(')')?;
                Ok(Value::Ext(kind as i8, bytes))
            }
            other => Err(format!("not a value: {other:?}")),
        }
    }

    fn number(&mut self) -> Result<Value, String> {
        let text = self.word(|c| c.is_alphanumeric() || matches!(c, '-' | '+' | '.'));
        if let Ok(int) = text.parse::<i64>() {
            return Ok(int.into());
        }
        if let Ok(int) = text.parse::<u64>() {
            return Ok(int.into());
        }
        text.parse::<f64>()
            .map(Value::from)
            .map_err(|_| format!("not a number: {text}"))
    }

    fn text(&mut self) -> Result<String, String> {
        self.expect('"')?;
        let mut text = String::new();
        loop {
            match self.0.next().ok_or("a text without end")? {
                '"' => return Ok(text),
                '\\' => text.push(self.0.next().ok_or("a text without end")?),
                c => text.push(c),
            }
        }
    }

    fn bytes(&mut self) -> Result<Vec<u8>, String> {
        let text = self.text()?;
        let pairs = text
            .as_bytes()
            .chunks(2)
            .map(|pair| str::from_utf8(pair).unwrap_or_default());
        pairs
            .map(|pair| u8::from_str_radix(pair, 16).map_err(|e| e.to_string()))
            .collect()
    }

    fn array(&mut self) -> Result<Vec<Value>, String> {
        self.expect('[')?;
        let mut values = Vec::new();
        while !self.closes(']', values.is_empty())? {
            values.push(self.value()?);
        }
        Ok(values)
    }

    fn map(&mut self) -> Result<Value, String> {
        self.expect('{')?;
        let mut entries = Vec::new();
        while !self.closes('}', entries.is_empty())? {
            let key = self.value()?;
            self.expect(':')?;
            entries.push((key, self.value()?));
        }
        Ok(Value::Map(entries))
    }

    /// Whether a container ends here; if not, steps over the comma.
    fn closes(&mut self, end: char, at_first: bool) -> Result<bool, String> {
        self.blank();
        if self.0.next_if_eq(&end).is_some() {
            return Ok(true);
        }
        if !at_first {
            self.expect(',')?;
        }
        Ok(false)
    }

    fn word(&mut self, belongs: fn(char) -> bool) -> String {
        self.blank();
        std::iter::from_fn(|| self.0.next_if(|c| belongs(*c))).collect()
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        self.blank();
        match self.0.next() {
            Some(c) if c == wanted => Ok(()),
            found => Err(format!("expected {wanted:?}, found {found:?}")),
        }
    }

    fn blank(&mut self) {
        while self.0.next_if(|c| c.is_whitespace()).is_some() {}
    }
}

//! How a message names a place in a document: `players[3].name`.

use std::fmt::{self, Write};

use crate::value::walk::Token;

/// Bytes after which a name is cut, so that a message stays readable whatever the document holds.
const NAME_BYTES_MAX: usize = 240;

/// Bytes of one field after which it is cut.
const FIELD_BYTES_MAX: usize = 48;

/// The name of a place, built from the root on.
#[derive(Clone, Debug, Default)]
pub struct PlaceName {
    text: String,
    cut: bool,
}

impl PlaceName {
    /// Whether it is still the root.
    pub fn is_root(&self) -> bool {
        self.text.is_empty()
    }

    /// Goes on to a map's entry with a string key.
    pub fn field(&mut self, field: &str) {
        if is_identifier(field) {
            let dot = if self.is_root() { "" } else { "." };
            self.push(format_args!("{dot}{field}"));
        } else {
            self.push(format_args!("[{}]", quoted(field)));
        }
    }

    /// Goes on to an array's element, or a map's entry with an integer key.
    pub fn number(&mut self, number: impl fmt::Display) {
        self.push(format_args!("[{number}]"));
    }

    /// Goes on to a map's entry with this key.
    pub fn key(&mut self, key: &Token<'_>) {
        match key {
            Token::Str(text) => self.field(&String::from_utf8_lossy(text)),
            Token::Number(number) => self.number(number),
            other => self.push(format_args!("[<{}>]", other.kind())),
        }
    }

    fn push(&mut self, part: fmt::Arguments<'_>) {
        if self.cut {
            return;
        }
        if self.text.len() > NAME_BYTES_MAX {
            self.cut = true;
            self.text.push('…');
        } else {
            // Writing to a string does not fail.
            let _ = self.text.write_fmt(part);
        }
    }
}

impl fmt::Display for PlaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() {
            "the document"
        } else {
            &self.text
        })
    }
}

/// A text in quotes, cut where it is long.
pub fn quoted(text: &str) -> String {
    if text.len() <= FIELD_BYTES_MAX {
        return format!("{text:?}");
    }
    let end = text.floor_char_boundary(FIELD_BYTES_MAX);
    format!("{:?}…", &text[..end])
}

fn is_identifier(field: &str) -> bool {
    field.len() <= FIELD_BYTES_MAX
        && !field.starts_with(|c: char| c.is_ascii_digit())
        && !field.is_empty()
        && field
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_like_the_code_that_selects_the_place() {
        let mut name = PlaceName::default();
        assert_eq!(name.to_string(), "the document");
        name.field("players");
        name.number(3);
        name.field("name");
        assert_eq!(name.to_string(), "players[3].name");
        name.field("a.b");
        name.key(&Token::Bool(true));
        assert_eq!(name.to_string(), "players[3].name[\"a.b\"][<a boolean>]");
    }

    #[test]
    fn a_long_name_is_cut() {
        let mut name = PlaceName::default();
        for _ in 0..1000 {
            name.field(&"é".repeat(1000));
        }
        let text = name.to_string();
        assert!(text.len() < 400 && text.ends_with('…'), "{text}");
    }
}

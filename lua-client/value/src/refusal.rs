//! Why a value is refused, and where in it.
//!
//! The path is collected only while a refusal travels outwards; a value that is fine pays nothing for it.

use std::fmt::{self, Write};

/// Longest path that is shown whole, in steps.
const PATH_STEPS_MAX: usize = 16;

/// Steps shown of a longer one.
const PATH_STEPS_SHOWN: usize = 8;

/// Why a value is refused.
#[derive(Debug)]
pub struct Refusal {
    /// What it means for the caller.
    pub kind: Kind,
    message: String,
    /// From the refused place outwards.
    path: Vec<Step>,
    /// Steps deeper than this are left out: the value contains itself, and they only repeat.
    depth_shown: usize,
}

/// What a refusal means for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Not the value's fault: more stack slots are needed.
    Stack,
    /// The value is over a limit.
    OverLimit,
    /// The value is none that can be stored.
    Unfit,
}

/// One step of a path.
#[derive(Debug)]
enum Step {
    Field(String),
    Index(String),
}

impl Refusal {
    /// A refusal at the place just looked at.
    #[cold]
    pub fn new(message: impl Into<String>) -> Box<Self> {
        Box::new(Refusal {
            kind: Kind::Unfit,
            message: message.into(),
            path: Vec::new(),
            depth_shown: usize::MAX,
        })
    }

    /// The encoder has to be run again with more stack slots.
    #[cold]
    pub fn stack() -> Box<Self> {
        let mut refusal = Refusal::new("");
        refusal.kind = Kind::Stack;
        refusal
    }

    /// The value is over a limit.
    #[cold]
    pub fn over_limit(message: impl Into<String>) -> Box<Self> {
        let mut refusal = Refusal::new(message);
        refusal.kind = Kind::OverLimit;
        refusal
    }

    /// Shows the path only to this depth.
    #[cold]
    pub fn shown_to(mut self: Box<Self>, depth: usize) -> Box<Self> {
        self.depth_shown = depth;
        self
    }

    /// Adds the step by a string key, seen from a table `depth` levels deep (the outermost: 1).
    #[cold]
    pub fn in_field(mut self: Box<Self>, key: &[u8], depth: usize) -> Box<Self> {
        if depth <= self.depth_shown {
            self.path.push(match std::str::from_utf8(key) {
                Ok(name) if is_identifier(name) => Step::Field(name.to_owned()),
                _ => Step::Index(quoted(key)),
            });
        }
        self
    }

    /// Adds the step by another key, already written out.
    #[cold]
    pub fn in_index(mut self: Box<Self>, key: String, depth: usize) -> Box<Self> {
        if depth <= self.depth_shown {
            self.path.push(Step::Index(key));
        }
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.path.is_empty() {
            return Ok(());
        }
        f.write_str(" (at ")?;
        let shown = if self.path.len() > PATH_STEPS_MAX {
            PATH_STEPS_SHOWN
        } else {
            self.path.len()
        };
        for (i, step) in self.path.iter().rev().take(shown).enumerate() {
            match step {
                Step::Field(name) if i == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Index(key) => write!(f, "[{key}]")?,
            }
        }
        f.write_str(if shown < self.path.len() { "...)" } else { ")" })
    }
}

/// A string as Lua would write it, cut to a length for people.
pub fn quoted(bytes: &[u8]) -> String {
    const SHOWN_BYTES_MAX: usize = 64;
    let mut text = String::from("\"");
    for chunk in bytes[..bytes.len().min(SHOWN_BYTES_MAX)].utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => text.extend(['\\', c]),
                c if c.is_control() => _ = write!(text, "\\{}", u32::from(c)),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            _ = write!(text, "\\{byte}");
        }
    }
    text.push_str(if bytes.len() > SHOWN_BYTES_MAX {
        "\"..."
    } else {
        "\""
    });
    text
}

/// Whether a key is shown as `.name`.
fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|b| b == b'_' || b.is_ascii_alphabetic())
        && bytes.all(|b| b == b'_' || b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_lua_would_write_it() {
        let refusal = Refusal::new("cannot store a function")
            .in_field(b"bag", 3)
            .in_index("3".into(), 2)
            .in_field(b"players", 1);
        assert_eq!(
            refusal.to_string(),
            "cannot store a function (at players[3].bag)"
        );
        let refusal = Refusal::new("no").in_field(b"two words\xff\n", 1);
        assert_eq!(refusal.to_string(), "no (at [\"two words\\255\\10\"])");
    }

    #[test]
    fn a_long_path_is_cut_and_a_refusal_of_the_whole_value_has_none() {
        let mut refusal = Refusal::new("too deep");
        assert_eq!(refusal.to_string(), "too deep");
        for depth in (1..=64).rev() {
            refusal = refusal.in_field(b"a", depth);
        }
        assert_eq!(refusal.to_string(), "too deep (at a.a.a.a.a.a.a.a...)");
    }
}

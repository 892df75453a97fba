//! What the last word of a process comes to, for a reload.
//!
//! Processes answer with the reports of the reload kit: maps with many fields, which are the operator's. Few of them count
//! here, and each may be missing: an older or a foreign kit says less.

use std::sync::Arc;

use bytes::Bytes;

use super::program::{Program, Sources};
use crate::{
    service::management::dispatch::Word,
    value::walk::{Cursor, Malformed, Token},
};

/// What the last word of a process comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has done what was asked.
    Done(Report),
    /// It has not done it, and says why.
    Failed(String),
    /// It has not answered in time: it may still do it.
    Late(String),
    /// It is not there: it may have done it.
    Gone(String),
    /// It was not asked.
    Skipped(String),
}

/// What counts of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The program that it runs, or would run.
    pub program: Option<Program>,
    /// There was nothing to do.
    pub nothing: bool,
}

impl Answer {
    /// What a word comes to. Only a last one says something.
    pub fn of(word: &Word) -> Answer {
        match word {
            Word::Ok(value) => Answer::Done(Report::read(value)),
            Word::Failed(error) => Answer::Failed(error.message.clone()),
            Word::TimedOut(why) => Answer::Late(why.clone()),
            Word::Gone(why) => Answer::Gone(why.clone()),
            Word::Skipped(why) => Answer::Skipped(why.clone()),
            Word::Delivered | Word::Progress(_) => Answer::Late("it has not answered".into()),
        }
    }

    /// Whether it has done what was asked.
    pub fn is_done(&self) -> bool {
        matches!(self, Answer::Done(_))
    }

    /// What it says of itself, if it has done what was asked.
    pub fn report(&self) -> Option<&Report> {
        match self {
            Answer::Done(report) => Some(report),
            _ => None,
        }
    }

    /// The program that it says it runs.
    pub fn program(&self) -> Option<&Program> {
        self.report()?.program.as_ref()
    }

    /// Why it has not done what was asked. Empty if it has.
    pub fn why(&self) -> &str {
        match self {
            Answer::Done(_) => "",
            Answer::Failed(why) | Answer::Late(why) | Answer::Gone(why) | Answer::Skipped(why) => {
                why
            }
        }
    }
}

impl Report {
    /// Reads one. What is not there, or is not what it should be, is as if it had not been said.
    pub fn read(value: &Bytes) -> Report {
        let mut report = Report::default();
        let mut outcome = None;
        let mut changed = None;
        let mut name = None;
        let mut sources = None;
        let mut cursor = Cursor::new(value);
        let Ok(Token::Map(fields)) = cursor.read() else {
            return report;
        };
        for _ in 0..fields {
            let begin = cursor.position();
            let Ok((field, said)) = field(&mut cursor) else {
                break;
            };
            match (field, said) {
                (b"program", Token::Str(text)) => name = text_of(text),
                // An empty table of Lua may come as a list.
                (b"sources", Token::Map(_) | Token::Array(0)) => {
                    sources = sources_of(Cursor::new(&value[begin..])).ok();
                }
                (b"outcome", Token::Str(text)) => outcome = Some(text),
                (b"changed", list @ (Token::Array(_) | Token::Map(_))) => {
                    changed = Some(list.children());
                }
                (b"nothing", Token::Bool(nothing)) => report.nothing = nothing,
                _ => {}
            }
        }
        report.program = name.map(|name| Program {
            name,
            sources: sources.map(Arc::new),
        });
        report.nothing |= match outcome {
            Some(outcome) => outcome == b"nothing",
            None => changed == Some(0),
        };
        report
    }
}

/// A field's name, and the head of its value.
fn field<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a [u8], Token<'a>), Malformed> {
    let name = cursor.read()?;
    cursor.skip_many(name.children())?;
    let said = cursor.read()?;
    cursor.skip_many(said.children())?;
    match name {
        Token::Str(name) => Ok((name, said)),
        _ => Ok((b"", said)),
    }
}

/// The field that the cursor is at, whose value is a map of texts. What else it has is left out.
fn sources_of(mut cursor: Cursor<'_>) -> Result<Sources, Malformed> {
    cursor.skip()?;
    let mut sources = Sources::new();
    if let Token::Map(units) = cursor.read()? {
        for _ in 0..units {
            let (unit, said) = field(&mut cursor)?;
            if let (Some(unit), Token::Str(source)) = (text_of(unit), said)
                && let Some(source) = text_of(source)
            {
                sources.insert(unit, source);
            }
        }
    }
    Ok(sources)
}

fn text_of(text: &[u8]) -> Option<Arc<str>> {
    let text = std::str::from_utf8(text).ok()?;
    (!text.is_empty()).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use rmpv::Value;

    use super::*;

    fn read(fields: &[(&str, Value)]) -> Report {
        let fields = fields.iter().map(|(k, v)| ((*k).into(), v.clone()));
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, &Value::Map(fields.collect())).unwrap();
        Report::read(&bytes.into())
    }

    #[test]
    fn a_report_is_read_over_what_does_not_count() {
        let nested = Value::Array(vec![Value::Map(vec![("program".into(), "inner".into())])]);
        let report = read(&[
            ("changes", nested),
            ("generation", 7.into()),
            ("program", "0badcafe".into()),
            ("outcome", "prepared".into()),
            ("changed", Value::Array(Vec::new())),
        ]);
        assert_eq!(report.program, Some(Program::named("0badcafe")));
        assert!(!report.nothing, "the outcome says more than an empty list");
    }

    #[test]
    fn a_program_of_ten_thousand_units_is_read_with_the_source_of_each() {
        let unit = |n: usize| {
            (
                Value::from(format!("game.unit{n}")),
                Value::from(format!("{n:08x}")),
            )
        };
        let mut units: Vec<_> = (0..10_000).map(unit).collect();
        units.extend([("odd".into(), 7.into()), (8.into(), "00000008".into())]);
        let report = read(&[
            ("sources", Value::Map(units)),
            ("program", "0badcafe".into()),
            ("outcome", "nothing".into()),
        ]);
        let sources = report
            .program
            .and_then(|program| program.sources)
            .expect("they are told");
        assert_eq!(sources.len(), 10_000);
        assert_eq!(
            sources.get("game.unit9999").map(|source| &**source),
            Some("0000270f")
        );
        assert!(report.nothing, "what comes after them is read");

        let none = [
            ("program", "0badcafe".into()),
            ("sources", Value::Array(Vec::new())),
        ];
        let program = read(&none).program.expect("it is named");
        assert_eq!(program.sources, Some(Arc::default()));
    }

    #[test]
    fn there_is_nothing_to_do_by_its_outcome_by_an_empty_list_or_by_saying_so() {
        let none = Value::Array(Vec::new());
        // An empty table of Lua may come as a map.
        let none_in_lua = Value::Map(Vec::new());
        let some = Value::Array(vec!["game.shop".into()]);
        for (fields, nothing) in [
            (vec![("outcome", Value::from("nothing"))], true),
            (
                vec![("outcome", "nothing".into()), ("changed", some.clone())],
                true,
            ),
            (vec![("changed", none)], true),
            (vec![("changed", none_in_lua)], true),
            (vec![("changed", some)], false),
            (vec![("changed", Value::Nil)], false),
            (vec![("nothing", true.into())], true),
            (vec![], false),
        ] {
            assert_eq!(read(&fields).nothing, nothing, "{fields:?}");
        }
    }

    #[test]
    fn what_is_no_report_says_nothing() {
        for bytes in [
            &b""[..],
            b"\xc0",
            b"\x93\x01\x02\x03",
            b"\x82\xa7program",
            b"\x81\x01\x02",
        ] {
            assert_eq!(
                Report::read(&Bytes::copy_from_slice(bytes)),
                Report::default()
            );
        }
        assert_eq!(read(&[("program", 7.into())]).program, None);
        assert_eq!(read(&[("program", "".into())]).program, None);
    }
}

//! What the tests share: documents written as Lua, scripts from a line.

use stillpoint_migrations::{Chain, Limits, Source, StepError};

/// A script of the collection "player" in all namespaces.
pub fn script(number: u32, fields: &str) -> Source {
    let from = number - 1;
    let text = format!("return {{ from = {from}, to = {number}, {fields} }}");
    Source::new("_any", "player", number, "step", text)
}

/// A chain of such scripts.
pub fn chain(fields: &[&str]) -> Chain {
    let sources: Vec<_> = (1..)
        .zip(fields)
        .map(|(number, fields)| script(number, fields))
        .collect();
    chain_of(&sources).unwrap_or_else(|error| panic!("{error}"))
}

pub fn chain_of(sources: &[Source]) -> Result<Chain, StepError> {
    Chain::new("game", "player", sources, Limits::default())
}

/// The document that a Lua expression stands for.
pub fn document(lua: &str) -> Vec<u8> {
    let body = format!("up = function() return {lua} end");
    chain(&[&body])
        .up(0, 1, b"key", &[0x80])
        .unwrap_or_else(|error| panic!("{error}"))
        .to_vec()
}

/// What an expression of `doc` and `key` is in a script, as text.
pub fn evaluate(doc: &str, lua: &str) -> Result<String, String> {
    let body = format!("up = function(doc, key) {lua} end");
    let result = chain(&[&body]).up(0, 1, b"the key", &document(doc));
    result
        .map(|bytes| text(&bytes))
        .map_err(|error| error.to_string())
}

/// A document for people.
pub fn text(mut bytes: &[u8]) -> String {
    rmpv::decode::read_value(&mut bytes)
        .map_or_else(|error| error.to_string(), |value| value.to_string())
}

//! Values in and out as JSON, lossless both ways.
//!
//! A record's value is MessagePack, people write JSON. What both have (null, booleans, 64-bit integers, floats, UTF-8
//! strings, arrays, maps with string keys) looks as one expects; a number with a decimal point or an exponent is a
//! float, without one an integer. What JSON lacks is an object with one key that begins with `$`:
//!
//! | JSON | MessagePack |
//! |---|---|
//! | `{"$bin": "AP8="}` | binary, in base64 |
//! | `{"$str": "/w=="}` | a string that is not UTF-8, in base64 |
//! | `{"$ext": [7, "AP8="]}` | an extension type and its bytes |
//! | `{"$f32": 1.5}` | a float of 32 bits |
//! | `{"$float": "nan"}` | a float that is no JSON number: `nan`, `inf`, `-inf`, or its 64 bits as `0x…` |
//! | `{"$map": [[1, "one"]]}` | any other map: keys that are no strings, keys twice, one key that begins with `$` |

use std::{collections::HashSet, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use rmpv::Value;
use serde::{
    Serialize, Serializer,
    de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor},
    ser::SerializeMap,
};

/// Deepest JSON that is read. One level of MessagePack takes up to three of JSON (`{"$map": [[k, v]]}`), and a store
/// can be told to take at most 512.
const JSON_DEPTH_MAX: usize = 3 * 512 + 1;

/// Reads one JSON text as a value. The message names the place.
pub fn parse(text: &str) -> Result<Value, String> {
    refuse_wide_integers(text)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    // The depth is bounded by `ValueSeed` instead.
    reader.disable_recursion_limit();
    let value = ValueSeed { depth: 0 }
        .deserialize(&mut reader)
        .map_err(|error| format!("invalid JSON: {error}"))?;
    (reader.end()).map_err(|error| format!("invalid JSON: {error}"))?;
    Ok(value)
}

/// Writes a value as JSON: on one line, or indented for people.
pub fn to_string(value: &Value, pretty: bool) -> String {
    let json = AsJson(value);
    let text = if pretty {
        serde_json::to_string_pretty(&json)
    } else {
        serde_json::to_string(&json)
    };
    text.expect("every value has a JSON form")
}

/// Decodes the one MessagePack value that `bytes` must be.
pub fn from_msgpack(mut bytes: &[u8]) -> Result<Value, String> {
    let value = rmpv::decode::read_value(&mut bytes)
        .map_err(|error| format!("the value is no valid MessagePack: {error}"))?;
    if bytes.is_empty() {
        Ok(value)
    } else {
        Err(format!(
            "the value is followed by {} more bytes",
            bytes.len()
        ))
    }
}

/// Encodes a value as MessagePack, integers as short as they go.
pub fn to_msgpack(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_msgpack(value, &mut bytes).expect("memory takes every write");
    bytes
}

fn write_msgpack(value: &Value, out: &mut Vec<u8>) -> Result<(), rmp::encode::ValueWriteError> {
    let len = |len: usize| u32::try_from(len).expect("no value has 2^32 parts");
    match value {
        // rmpv would make it binary.
        Value::String(text) if text.is_err() => {
            rmp::encode::write_str_len(out, len(text.as_bytes().len()))?;
            out.extend_from_slice(text.as_bytes());
        }
        Value::Array(items) => {
            rmp::encode::write_array_len(out, len(items.len()))?;
            for item in items {
                write_msgpack(item, out)?;
            }
        }
        Value::Map(entries) => {
            rmp::encode::write_map_len(out, len(entries.len()))?;
            for (key, value) in entries {
                write_msgpack(key, out)?;
                write_msgpack(value, out)?;
            }
        }
        leaf => rmpv::encode::write_value(out, leaf)?,
    }
    Ok(())
}

/// A value as serde sees its JSON form.
pub struct AsJson<'a>(pub &'a Value);

impl Serialize for AsJson<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Nil => out.serialize_unit(),
            Value::Boolean(flag) => out.serialize_bool(*flag),
            Value::Integer(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => out.serialize_u64(number),
                (None, number) => out.serialize_i64(number.unwrap_or_default()),
            },
            Value::F64(number) if number.is_finite() => out.serialize_f64(*number),
            Value::F64(number) => tagged(out, "$float", &odd_float(*number)),
            // Widened, so that reading it back cannot round twice.
            Value::F32(number) if number.is_finite() => tagged(out, "$f32", &f64::from(*number)),
            Value::F32(number) => tagged(out, "$f32", &odd_f32(*number)),
            Value::String(text) => match text.as_str() {
                Some(text) => out.serialize_str(text),
                None => tagged(out, "$str", &BASE64.encode(text.as_bytes())),
            },
            Value::Binary(bytes) => tagged(out, "$bin", &BASE64.encode(bytes)),
            Value::Ext(kind, bytes) => tagged(out, "$ext", &(kind, BASE64.encode(bytes))),
            Value::Array(items) => out.collect_seq(items.iter().map(AsJson)),
            Value::Map(entries) => match object_keys(entries) {
                Some(keys) => out.collect_map(
                    (keys.into_iter()).zip(entries.iter().map(|(_, value)| AsJson(value))),
                ),
                None => {
                    let pairs = entries.iter().map(|(k, v)| (AsJson(k), AsJson(v)));
                    tagged(out, "$map", &pairs.collect::<Vec<_>>())
                }
            },
        }
    }
}

/// Writes an object with one key.
fn tagged<S: Serializer, T: Serialize + ?Sized>(
    out: S,
    tag: &str,
    content: &T,
) -> Result<S::Ok, S::Error> {
    let mut object = out.serialize_map(Some(1))?;
    object.serialize_entry(tag, content)?;
    object.end()
}

/// The keys of a map that can stand as a plain JSON object.
fn object_keys(entries: &[(Value, Value)]) -> Option<Vec<&str>> {
    let keys: Vec<&str> = entries
        .iter()
        .map(|(key, _)| key.as_str())
        .collect::<Option<_>>()?;
    let mut seen = HashSet::with_capacity(keys.len());
    let ambiguous = keys.len() == 1 && keys[0].starts_with('$');
    (!ambiguous && keys.iter().all(|key| seen.insert(*key))).then_some(keys)
}

/// The name of a float that is no number of JSON.
fn odd_float(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.into();
    }
    match number.to_bits() {
        bits if bits == f64::NAN.to_bits() => "nan".into(),
        bits => format!("{bits:#018x}"),
    }
}

/// The same for 32 bits.
fn odd_f32(number: f32) -> String {
    if number.is_infinite() {
        return odd_float(f64::from(number));
    }
    match number.to_bits() {
        bits if bits == f32::NAN.to_bits() => "nan".into(),
        bits => format!("{bits:#010x}"),
    }
}

/// Reads a value at some depth of the document.
struct ValueSeed {
    depth: usize,
}

impl ValueSeed {
    fn deeper<E: serde::de::Error>(&self) -> Result<usize, E> {
        if self.depth == JSON_DEPTH_MAX {
            return Err(E::custom(format!(
                "nested deeper than {JSON_DEPTH_MAX} levels"
            )));
        }
        Ok(self.depth + 1)
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Value, D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(flag.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut input: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = input.next_element_seed(ValueSeed { depth })? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut entries = Vec::new();
        let mut seen = HashSet::new();
        while let Some(key) = input.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(format!(
                    "key {key:?} stands twice: remove one, or write {{\"$map\": [[key, value], ...]}}"
                )));
            }
            let value = input.next_value_seed(ValueSeed { depth })?;
            entries.push((Value::from(key), value));
        }
        untag(entries).map_err(A::Error::custom)
    }
}

/// Turns the entries of a JSON object into the value they stand for.
fn untag(mut entries: Vec<(Value, Value)>) -> Result<Value, String> {
    let tag = match entries.as_slice() {
        [(key, _)] => key.as_str().filter(|key| key.starts_with('$')),
        _ => None,
    };
    let Some(tag) = tag.map(str::to_owned) else {
        return Ok(Value::Map(entries));
    };
    let content = entries.remove(0).1;
    let malformed =
        |form: &str| format!("malformed {{\"{tag}\": ...}}: write {{\"{tag}\": {form}}}");
    match tag.as_str() {
        "$bin" => decode_base64(&content)
            .map(Value::Binary)
            .ok_or_else(|| malformed("base64")),
        "$str" => decode_base64(&content)
            .and_then(|bytes| raw_string(&bytes))
            .ok_or_else(|| malformed("base64")),
        "$ext" => untag_ext(&content).ok_or_else(|| malformed("[type, base64]")),
        "$f32" => untag_f32(&content).ok_or_else(|| malformed("number")),
        "$float" => untag_float(&content).ok_or_else(|| malformed("\"nan\" | \"inf\" | \"-inf\"")),
        "$map" => untag_map(content).ok_or_else(|| malformed("[[key, value], ...]")),
        _ => Err(format!(
            "unknown type {tag:?}: a map with this one key is written {{\"$map\": [[{tag:?}, value]]}}"
        )),
    }
}

fn decode_base64(content: &Value) -> Option<Vec<u8>> {
    BASE64.decode(content.as_str()?).ok()
}

/// A MessagePack string of any bytes; only the decoder can make one.
fn raw_string(bytes: &[u8]) -> Option<Value> {
    let mut encoded = Vec::new();
    rmp::encode::write_str_len(&mut encoded, u32::try_from(bytes.len()).ok()?).ok()?;
    encoded.extend_from_slice(bytes);
    from_msgpack(&encoded).ok()
}

fn untag_ext(content: &Value) -> Option<Value> {
    let [kind, bytes] = content.as_array()?.as_slice() else {
        return None;
    };
    let kind = i8::try_from(kind.as_i64()?).ok()?;
    Some(Value::Ext(kind, decode_base64(bytes)?))
}

fn untag_f32(content: &Value) -> Option<Value> {
    let number = match content.as_str() {
        Some("nan") => f32::NAN,
        Some("inf") => f32::INFINITY,
        Some("-inf") => f32::NEG_INFINITY,
        Some(bits) => f32::from_bits(u32::from_str_radix(bits.strip_prefix("0x")?, 16).ok()?),
        None => content.as_f64()? as f32,
    };
    Some(Value::F32(number))
}

fn untag_float(content: &Value) -> Option<Value> {
    Some(Value::F64(match content.as_str()? {
        "nan" => f64::NAN,
        "inf" => f64::INFINITY,
        "-inf" => f64::NEG_INFINITY,
        bits => f64::from_bits(u64::from_str_radix(bits.strip_prefix("0x")?, 16).ok()?),
    }))
}

fn untag_map(content: Value) -> Option<Value> {
    let Value::Array(pairs) = content else {
        return None;
    };
    let pair = |pair: Value| match pair {
        Value::Array(pair) => <[Value; 2]>::try_from(pair).ok().map(|[k, v]| (k, v)),
        _ => None,
    };
    let entries = pairs.into_iter().map(pair).collect::<Option<Vec<_>>>()?;
    Some(Value::Map(entries))
}

/// Refuses integers beyond 64 bits, which the JSON reader would round to floats without a word.
fn refuse_wide_integers(text: &str) -> Result<(), String> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = end_of_string(bytes, at),
            b'-' | b'0'..=b'9' => {
                let end = end_of_number(bytes, at);
                refuse_wide_integer(&text[at..end])?;
                at = end;
            }
            _ => at += 1,
        }
    }
    Ok(())
}

fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

fn end_of_number(bytes: &[u8], start: usize) -> usize {
    let of_number = |b: &u8| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    start + bytes[start..].iter().take_while(|b| of_number(b)).count()
}

fn refuse_wide_integer(number: &str) -> Result<(), String> {
    let is_float = number.contains(['.', 'e', 'E']);
    let fits = number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok();
    let is_integer = number
        .trim_start_matches('-')
        .bytes()
        .all(|b| b.is_ascii_digit());
    if is_float || fits || !is_integer || number == "-" {
        return Ok(());
    }
    Err(format!(
        "integer {number} does not fit into 64 bits: write it as a float ({number}.0) or as a string"
    ))
}

#[cfg(test)]
mod tests;

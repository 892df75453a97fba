//! Writes MessagePack to memory, each thing in its smallest form.

use rmp::encode::{self, ValueWriteError};

use crate::value::number::Number;

/// A nil.
pub const NIL: &[u8] = &[0xc0];

/// A boolean.
pub fn boolean(value: bool) -> &'static [u8] {
    if value { &[0xc3] } else { &[0xc2] }
}

/// Appends a number; a float always as 64 bits.
pub fn number(out: &mut Vec<u8>, number: Number) {
    match number {
        Number::Int(n) => match i64::try_from(n) {
            Ok(n) => written(encode::write_sint(out, n)),
            Err(_) => written(encode::write_uint(out, n as u64)),
        },
        Number::Float(f) => written(encode::write_f64(out, f)),
    }
}

/// Appends a string.
pub fn string(out: &mut Vec<u8>, text: &[u8]) {
    written(encode::write_str_len(out, length(text)));
    out.extend_from_slice(text);
}

/// Appends binary data.
pub fn binary(out: &mut Vec<u8>, data: &[u8]) {
    written(encode::write_bin_len(out, length(data)));
    out.extend_from_slice(data);
}

/// Appends an extension.
pub fn extension(out: &mut Vec<u8>, kind: i8, data: &[u8]) {
    written(encode::write_ext_meta(out, length(data), kind));
    out.extend_from_slice(data);
}

/// Appends the head of an array of as many values.
pub fn array(out: &mut Vec<u8>, count: u32) {
    written(encode::write_array_len(out, count));
}

/// Appends the head of a map of as many entries.
pub fn map(out: &mut Vec<u8>, count: u32) {
    written(encode::write_map_len(out, count));
}

/// All content comes from MessagePack or from one gRPC message, whose lengths have 32 bits.
fn length(content: &[u8]) -> u32 {
    u32::try_from(content.len()).expect("a part of a value has less than 4 GiB")
}

fn written<T, E: rmp::encode::RmpWriteErr>(result: Result<T, ValueWriteError<E>>) {
    result.map(drop).expect("a vector takes every byte");
}

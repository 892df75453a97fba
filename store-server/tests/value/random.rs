//! Random values, the widths they are encoded in, and random patches. Few names and small numbers, so that paths hit
//! and keys meet; and the numbers at which something changes.

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*, sample::select};
use rmp::Marker;
use rmpv::Value;
use stillpoint_proto::v1::{
    AddStep, AppendStep, PatchOp, PatchStep, Path, PathSegment, RemoveAtStep, SetInsertStep,
    SetRemoveStep, SetStep, UnsetStep, patch_step::Kind, path_segment::Segment,
};

use crate::{model, notation::encode};

/// Any value of a few levels.
pub fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            1 => vec(inner.clone(), 0..6).prop_map(Value::Array),
            2 => vec((key(), inner.clone()), 0..6).prop_map(map),
            1 => vec((inner.clone().prop_filter("NaN", not_nan), inner), 0..3).prop_map(map),
        ]
    })
}

/// A map, as records mostly are.
pub fn document() -> impl Strategy<Value = Value> {
    vec((key(), value()), 0..20).prop_map(map)
}

/// Any number.
pub fn number() -> impl Strategy<Value = Value> {
    const FLOATS: [f64; 9] = [
        0.0,
        -0.0,
        1.0,
        1.5,
        -2.5,
        9007199254740992.0,
        9223372036854775808.0,
        18446744073709551616.0,
        1e308,
    ];
    const INTS: [i64; 12] = [
        0,
        1,
        -1,
        127,
        128,
        255,
        256,
        -32,
        -33,
        i64::MIN,
        i64::MAX,
        (1 << 53) + 1,
    ];
    prop_oneof![
        3 => (-3i64..4).prop_map(Value::from),
        2 => select(&INTS[..]).prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => prop_oneof![Just(u64::MAX), Just(1 << 63), any::<u64>()].prop_map(Value::from),
        2 => select(&FLOATS[..]).prop_map(Value::from),
        1 => (-3i8..4).prop_map(|n| Value::F32(n.into())),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), any::<f64>()].prop_map(Value::from),
    ]
}

/// A patch of a few steps.
pub fn patch() -> impl Strategy<Value = PatchOp> {
    (vec(step(), 1..4), 0..2u32).prop_map(|(kinds, index_base)| PatchOp {
        steps: kinds
            .into_iter()
            .map(|kind| PatchStep { kind: Some(kind) })
            .collect(),
        index_base,
        ..Default::default()
    })
}

/// Encodes a value with heads wider than they need be, as `choices` say.
pub fn encode_wide(value: &Value, choices: &[u8]) -> Vec<u8> {
    let mut encoder = Wide {
        out: Vec::new(),
        choices: choices.iter().cycle(),
    };
    encoder.value(value);
    encoder.out
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Nil),
        1 => any::<bool>().prop_map(Value::from),
        4 => number(),
        3 => text().prop_map(Value::from),
        1 => vec(any::<u8>(), 0..40).prop_map(Value::Binary),
        1 => (any::<i8>(), select(&[0usize, 1, 2, 3, 4, 8, 16, 17][..]))
            .prop_map(|(kind, len)| Value::Ext(kind, vec![7; len])),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        select(&["", "a", "b", "c", "ä"][..]).prop_map(str::to_owned),
        "[a-z]{0,40}",
        (250usize..260).prop_map(|len| "x".repeat(len)),
    ]
}

fn key() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => select(&["a", "b", "c", "d"][..]).prop_map(Value::from),
        2 => (0i64..4).prop_map(Value::from),
        1 => scalar().prop_filter("NaN", not_nan),
    ]
}

fn not_nan(value: &Value) -> bool {
    !matches!(value, Value::F64(f) if f.is_nan())
}

/// A map of the entries whose keys are new.
fn map(entries: Vec<(Value, Value)>) -> Value {
    let mut unique: Vec<(Value, Value)> = Vec::new();
    for (key, value) in entries {
        if !unique.iter().any(|(other, _)| model::equal(other, &key)) {
            unique.push((key, value));
        }
    }
    Value::Map(unique)
}

fn path() -> impl Strategy<Value = Option<Path>> {
    let segment = prop_oneof![
        3 => select(&["a", "b", "c", "d"][..]).prop_map(|field| Segment::Field(field.into())),
        2 => (-3i64..5).prop_map(Segment::Number),
        1 => select(&[i64::MIN, i64::MAX][..]).prop_map(Segment::Number),
    ];
    let length = prop_oneof![1 => Just(0usize), 6 => Just(1), 4 => Just(2), 1 => Just(3)];
    length
        .prop_flat_map(move |length| vec(segment.clone(), length))
        .prop_map(|segments| {
            let segments = segments.into_iter().map(|segment| PathSegment {
                segment: Some(segment),
            });
            Some(Path {
                segments: segments.collect(),
            })
        })
}

fn step() -> impl Strategy<Value = Kind> {
    let bytes = || value().prop_map(|value| Bytes::from(encode(&value)));
    let sum = || number().prop_map(|number| Bytes::from(encode(&number)));
    let bound = || option::weighted(0.3, sum()).prop_map(Option::unwrap_or_default);
    prop_oneof![
        (path(), bytes()).prop_map(|(path, value)| Kind::Set(SetStep { path, value })),
        path().prop_map(|path| Kind::Unset(UnsetStep { path })),
        (path(), sum(), bound(), bound()).prop_map(|(path, delta, min, max)| Kind::Add(AddStep {
            path,
            delta,
            min,
            max
        })),
        (path(), vec(bytes(), 0..4))
            .prop_map(|(path, values)| Kind::Append(AppendStep { path, values })),
        (path(), -3i64..5)
            .prop_map(|(path, position)| Kind::RemoveAt(RemoveAtStep { path, position })),
        (path(), bytes()).prop_map(|(path, value)| Kind::SetInsert(SetInsertStep { path, value })),
        (path(), bytes()).prop_map(|(path, value)| Kind::SetRemove(SetRemoveStep { path, value })),
    ]
}

struct Wide<'a> {
    out: Vec<u8>,
    choices: std::iter::Cycle<std::slice::Iter<'a, u8>>,
}

impl Wide<'_> {
    fn value(&mut self, value: &Value) {
        match value {
            Value::Integer(int) => self.int(
                int.as_i64()
                    .map_or_else(|| int.as_u64().unwrap().into(), i128::from),
            ),
            Value::String(text) => {
                self.head(
                    text.as_bytes().len(),
                    &[Marker::Str8, Marker::Str16, Marker::Str32],
                );
                self.out.extend_from_slice(text.as_bytes());
            }
            Value::Binary(data) => {
                self.head(data.len(), &[Marker::Bin8, Marker::Bin16, Marker::Bin32]);
                self.out.extend_from_slice(data);
            }
            Value::Ext(kind, data) => {
                self.head(data.len(), &[Marker::Ext8, Marker::Ext16, Marker::Ext32]);
                self.out.push(*kind as u8);
                self.out.extend_from_slice(data);
            }
            Value::Array(values) => {
                self.head(values.len(), &[Marker::Array16, Marker::Array32]);
                values.iter().for_each(|value| self.value(value));
            }
            Value::Map(entries) => {
                self.head(entries.len(), &[Marker::Map16, Marker::Map32]);
                for (key, value) in entries {
                    self.value(key);
                    self.value(value);
                }
            }
            other => self.out.extend(encode(other)),
        }
    }

    fn head(&mut self, len: usize, markers: &[Marker]) {
        let width = |marker: Marker| match marker {
            Marker::Str8 | Marker::Bin8 | Marker::Ext8 => 1,
            Marker::Str16 | Marker::Bin16 | Marker::Ext16 | Marker::Array16 | Marker::Map16 => 2,
            _ => 4,
        };
        let fitting: Vec<_> = markers
            .iter()
            .filter(|marker| len < 1 << (8 * width(**marker)))
            .collect();
        let marker = *fitting[self.choose(fitting.len())];
        self.out.push(marker.to_u8());
        self.out
            .extend_from_slice(&(len as u32).to_be_bytes()[4 - width(marker)..]);
    }

    fn int(&mut self, int: i128) {
        let unsigned = [
            (Marker::U8, 1),
            (Marker::U16, 2),
            (Marker::U32, 4),
            (Marker::U64, 8),
        ];
        let signed = [
            (Marker::I8, 1),
            (Marker::I16, 2),
            (Marker::I32, 4),
            (Marker::I64, 8),
        ];
        let unsigned = unsigned
            .iter()
            .filter(|(_, width)| (0..1 << (8 * width)).contains(&int));
        let signed = signed.iter().filter(|(_, width)| {
            let half = 1i128 << (8 * width - 1);
            (-half..half).contains(&int)
        });
        let fitting: Vec<_> = unsigned.chain(signed).collect();
        let (marker, width) = *fitting[self.choose(fitting.len())];
        self.out.push(marker.to_u8());
        self.out.extend_from_slice(&int.to_be_bytes()[16 - width..]);
    }

    fn choose(&mut self, count: usize) -> usize {
        self.choices
            .next()
            .map_or(0, |choice| usize::from(*choice) % count)
    }
}

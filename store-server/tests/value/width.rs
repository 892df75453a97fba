//! Containers, strings and numbers at the sizes where their heads get wider or narrower.

use rmpv::Value;
use stillpoint_proto::v1::{
    AddStep, AppendStep, PatchOp, PatchStep, RemoveAtStep, SetStep, UnsetStep, patch_step::Kind,
};
use stillpoint_store_server::value::{ValueLimits, check, patch};

use crate::notation::{encode, parse_path};

const SIZES: [usize; 9] = [0, 1, 15, 16, 31, 32, 255, 256, 65_536];
const LIMITS: ValueLimits = ValueLimits {
    bytes: 1 << 20,
    nesting: 64,
};

/// A document with neighbours on both sides of what changes.
fn around(value: Value) -> Value {
    Value::Map(vec![
        ("before".into(), Value::Array(vec![1.into(), "x".into()])),
        ("it".into(), value),
        ("after".into(), Value::Map(vec![("y".into(), 2.into())])),
    ])
}

fn becomes(before: Value, kind: Kind, after: Value) {
    let op = PatchOp {
        steps: vec![PatchStep { kind: Some(kind) }],
        ..Default::default()
    };
    let patched = patch(&encode(&around(before)), &op, &LIMITS).unwrap();
    assert!(patched.value == encode(&around(after)), "{:?}", op.steps);
    assert_eq!(check(&patched.value, &LIMITS), Ok(()));
}

#[test]
fn an_array_grows_and_shrinks_over_every_width() {
    let array = |count: usize| Value::Array((0..count).map(|n| Value::from(n % 100)).collect());
    let path = || Some(parse_path("it").unwrap());
    for count in SIZES {
        let values = vec![encode(&Value::from(count % 100)).into()];
        becomes(
            array(count),
            Kind::Append(AppendStep {
                path: path(),
                values,
            }),
            array(count + 1),
        );
        becomes(
            array(count + 1),
            Kind::RemoveAt(RemoveAtStep {
                path: path(),
                position: -1,
            }),
            array(count),
        );
    }
    let values = (0..65_536)
        .map(|n| encode(&Value::from(n % 100)).into())
        .collect();
    becomes(
        array(0),
        Kind::Append(AppendStep {
            path: path(),
            values,
        }),
        array(65_536),
    );
}

#[test]
fn a_map_grows_and_shrinks_over_every_width() {
    let map = |count: usize| Value::Map((0..count).map(|n| (n.into(), Value::Nil)).collect());
    for count in SIZES {
        let path = || Some(parse_path(&format!("it[{count}]")).unwrap());
        let value = encode(&Value::Nil).into();
        becomes(
            map(count),
            Kind::Set(SetStep {
                path: path(),
                value,
            }),
            map(count + 1),
        );
        becomes(
            map(count + 1),
            Kind::Unset(UnsetStep { path: path() }),
            map(count),
        );
    }
}

#[test]
fn a_string_gives_way_to_one_of_every_width() {
    let text = |count: usize| Value::from("x".repeat(count));
    for old in SIZES {
        for new in SIZES {
            let path = Some(parse_path("it").unwrap());
            becomes(
                text(old),
                Kind::Set(SetStep {
                    path,
                    value: encode(&text(new)).into(),
                }),
                text(new),
            );
        }
    }
}

#[test]
fn a_field_name_of_every_width_is_made_and_found() {
    for count in SIZES {
        let name = "k".repeat(count);
        let path = || Some(parse_path(&format!("it[\"{name}\"]")).unwrap());
        let map = |value: i64| Value::Map(vec![(name.as_str().into(), value.into())]);
        let add = |delta: i64| {
            Kind::Add(AddStep {
                path: path(),
                delta: encode(&delta.into()).into(),
                ..Default::default()
            })
        };
        becomes(Value::Map(vec![]), add(1), map(1));
        becomes(map(1), add(1000), map(1001));
    }
}

#[test]
fn a_number_counts_over_every_width_in_its_smallest_form() {
    let edges = [
        0i128,
        1 << 7,
        1 << 8,
        1 << 15,
        1 << 16,
        1 << 31,
        1 << 32,
        1 << 63,
        (1 << 64) - 1,
    ];
    let edges = edges
        .into_iter()
        .chain([-32, -(1 << 7), -(1 << 15), -(1 << 31), -(1 << 63)]);
    let value = |n: i128| {
        i64::try_from(n)
            .map(Value::from)
            .unwrap_or_else(|_| u64::try_from(n).unwrap().into())
    };
    for edge in edges {
        for (from, to) in [
            (edge - 1, edge),
            (edge, edge + 1),
            (edge, edge - 1),
            (edge + 1, edge),
        ] {
            let in_range = |n: i128| (i64::MIN.into()..=u64::MAX.into()).contains(&n);
            if !in_range(from) || !in_range(to) {
                continue;
            }
            let path = Some(parse_path("it").unwrap());
            let delta = encode(&value(to - from)).into();
            becomes(
                value(from),
                Kind::Add(AddStep {
                    path,
                    delta,
                    ..Default::default()
                }),
                value(to),
            );
        }
    }
}

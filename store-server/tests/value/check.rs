//! Any bytes at all, against a slow reference decoder; and what the errors say.

use proptest::prelude::*;
use rmp::Marker;
use rmpv::Value;
use stillpoint_proto::v1::Reason;
use stillpoint_store_server::value::{NESTING_MAX, ValueLimits, check, equal};

use crate::{model, notation::encode, random};

const LIMITS: ValueLimits = ValueLimits {
    bytes: 400,
    nesting: 4,
};

/// Decodes with rmpv, value by value, refusing what it lets through.
fn reference(bytes: &[u8], limits: &ValueLimits) -> Result<Value, String> {
    let mut rest = bytes;
    let value = reference_value(&mut rest)?;
    if !rest.is_empty() || bytes.len() > limits.bytes || model::levels(&value) > limits.nesting {
        return Err("trailing bytes, too long or too deep".into());
    }
    Ok(value)
}

fn reference_value(bytes: &mut &[u8]) -> Result<Value, String> {
    let said = |e: &dyn std::fmt::Display| e.to_string();
    match Marker::from_u8(*bytes.first().ok_or("cut short")?) {
        Marker::Reserved => Err("reserved".into()),
        Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => {
            let count = rmp::decode::read_array_len(bytes).map_err(|e| said(&e))?;
            (0..count)
                .map(|_| reference_value(bytes))
                .collect::<Result<_, _>>()
                .map(Value::Array)
        }
        Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => {
            let mut entries: Vec<(Value, Value)> = Vec::new();
            for _ in 0..rmp::decode::read_map_len(bytes).map_err(|e| said(&e))? {
                let key = reference_value(bytes)?;
                let is_nan = matches!(key, Value::F64(f) if f.is_nan())
                    || matches!(key, Value::F32(f) if f.is_nan());
                if is_nan || entries.iter().any(|(other, _)| model::equal(other, &key)) {
                    return Err(format!("bad key {key}"));
                }
                entries.push((key, reference_value(bytes)?));
            }
            Ok(Value::Map(entries))
        }
        _ => match rmpv::decode::read_value(bytes).map_err(|e| said(&e))? {
            Value::String(text) if text.is_err() => Err("not UTF-8".into()),
            value => Ok(value),
        },
    }
}

fn agrees(bytes: &[u8]) -> Result<(), TestCaseError> {
    let (found, expected) = (check(bytes, &LIMITS), reference(bytes, &LIMITS));
    prop_assert_eq!(
        found.is_ok(),
        expected.is_ok(),
        "{:02x?}: {:?}, reference {:?}",
        bytes,
        found,
        expected
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn arbitrary_bytes_are_let_in_or_refused_as_by_a_reference_decoder(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        agrees(&bytes)?;
    }

    #[test]
    fn arbitrary_heads_are_let_in_or_refused_as_by_a_reference_decoder(
        bytes in prop::collection::vec(prop_oneof![0x80u8..=0x94, 0xa0u8..=0xa3, 0xc0u8..=0xdf, 0u8..3], 0..60)
    ) {
        agrees(&bytes)?;
    }

    #[test]
    fn damaged_values_are_let_in_or_refused_as_by_a_reference_decoder(
        value in random::value(),
        widths in prop::collection::vec(any::<u8>(), 1..20),
        bit in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = random::encode_wide(&value, &widths);
        agrees(&bytes)?;
        agrees(&bytes[..cut.index(bytes.len())])?;
        agrees(&[&bytes[..], &[0xc0]].concat())?;
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        agrees(&bytes)?;
    }

    #[test]
    fn a_key_that_stands_twice_is_found_in_maps_of_every_size(
        count in 1usize..200,
        twin in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        is_float in any::<bool>(),
    ) {
        let limits = ValueLimits { bytes: 1 << 20, nesting: 4 };
        let mut entries: Vec<_> = (0..count).map(|n| (Value::from(n * 7), Value::Nil)).collect();
        prop_assert_eq!(check(&encode(&Value::Map(entries.clone())), &limits), Ok(()));
        let number = twin.index(count) * 7;
        let key = if is_float { Value::F64(number as f64) } else { number.into() };
        entries.insert(place.index(count + 1), (key, Value::Nil));
        let error = check(&encode(&Value::Map(entries)), &limits).unwrap_err();
        prop_assert!(error.message.contains("stands twice"), "{}", error);
    }
}

#[test]
fn keys_of_all_kinds_made_to_collide_are_sorted_without_a_panic() {
    let limits = ValueLimits {
        bytes: 1 << 20,
        nesting: 4,
    };
    // The fingerprint of an integer is the upper half of a product with an odd constant C: adding C^-1 * k to it, with
    // k below 2^32, mostly leaves that half as it is.
    let inverse = (0..6).fold(1u64, |x, _| {
        x.wrapping_mul(2u64.wrapping_sub(x.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    });
    let mut keys: Vec<Value> = (0..2000u64)
        .map(|k| inverse.wrapping_mul(k * 7919).into())
        .collect();
    keys.extend((0..300).map(|n| Value::from("x".repeat(n))));
    keys.extend((0..300).map(|n| Value::Binary(vec![7; n])));
    keys.extend((0..300).map(|n| Value::Array(vec![Value::from((n * 7919) % 1000)])));
    keys.extend((0..300).map(|n| Value::F64(f64::from(n) + 0.5)));
    keys.extend([
        Value::Nil,
        true.into(),
        false.into(),
        Value::Map(vec![]),
        Value::Ext(1, vec![]),
    ]);
    let map =
        |keys: &[Value]| Value::Map(keys.iter().map(|key| (key.clone(), Value::Nil)).collect());
    assert_eq!(check(&encode(&map(&keys)), &limits), Ok(()));
    for twin in [0, 1999, 2100, 2400, 2700, keys.len() - 2] {
        let keys = [&keys[..], &keys[twin..=twin]].concat();
        assert!(
            check(&encode(&map(&keys)), &limits).is_err(),
            "{}",
            keys[twin]
        );
    }
}

#[test]
fn each_limit_is_met_exactly() {
    let limits = ValueLimits {
        bytes: 10,
        nesting: 3,
    };
    assert_eq!(check(&encode(&"x".repeat(9).into()), &limits), Ok(()));
    assert_eq!(
        check(&encode(&"x".repeat(10).into()), &limits)
            .unwrap_err()
            .reason(),
        Reason::TooLarge
    );
    assert_eq!(check(b"\x91\x91\x91\x00", &limits), Ok(()));
    assert_eq!(
        check(b"\x91\x91\x91\x91\x00", &limits)
            .unwrap_err()
            .reason(),
        Reason::TooLarge
    );
}

#[test]
fn no_setting_allows_more_nesting_than_the_stack_bears() {
    let limits = ValueLimits {
        bytes: usize::MAX,
        nesting: usize::MAX,
    };
    // Maps in arrays, each with entries out of order: {2: nil, 1: ...}.
    let nested = |levels: usize, last: u8| {
        let (head, rest) = (
            [0x91, 0x82, 2, 0xc0, 1].repeat(levels / 2),
            [0x91].repeat(levels % 2),
        );
        [head, rest, vec![last]].concat()
    };
    let deepest = nested(NESTING_MAX, 7);
    assert_eq!(check(&deepest, &limits), Ok(()));
    assert_eq!(equal(&deepest, &nested(NESTING_MAX, 8)), Ok(false));
    for levels in [NESTING_MAX + 1, 1_000_000] {
        let error = check(&nested(levels, 7), &limits).unwrap_err();
        assert_eq!(error.reason(), Reason::TooLarge);
    }
}

#[test]
fn a_length_that_is_only_announced_costs_nothing() {
    let limits = ValueLimits {
        bytes: 1 << 20,
        nesting: 64,
    };
    for head in [0xdbu8, 0xc6, 0xc9, 0xdd, 0xdf] {
        let error = check(&[head, 0xff, 0xff, 0xff, 0xff, 0], &limits).unwrap_err();
        assert_eq!(error.message, "the bytes end before the value does");
    }
}

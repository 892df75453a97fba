//! Random patches of random documents, against the naive patch of trees.

use proptest::prelude::*;
use rmpv::Value;
use stillpoint_proto::v1::{
    PatchOp, PatchStep, Path, PathSegment, Reason, SetStep, patch_step::Kind,
};
use stillpoint_store_server::value::{Patched, ValueLimits, check, patch};

use crate::{
    model,
    notation::{decode, encode, format, parse, parse_path},
    random,
};

const LIMITS: ValueLimits = ValueLimits {
    bytes: 1 << 20,
    nesting: 64,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_patch_of_bytes_does_what_a_patch_of_a_tree_does(
        document in random::document(),
        op in random::patch(),
        widths in prop::collection::vec(any::<u8>(), 1..20),
    ) {
        let bytes = random::encode_wide(&document, &widths);
        prop_assert_eq!(check(&bytes, &LIMITS), Ok(()));
        match (patch(&bytes, &op, &LIMITS), model::patch(&document, &op)) {
            (Ok(patched), Ok((expected, results))) => {
                prop_assert_eq!(format(&decode(&patched.value)), format(&expected));
                prop_assert_eq!(encode(&decode(&patched.value)), encode(&expected));
                prop_assert_eq!(check(&patched.value, &LIMITS), Ok(()));
                let found: Vec<_> = patched.step_results.iter().map(|result| encode(&decode(result))).collect();
                prop_assert_eq!(found, results.iter().map(encode).collect::<Vec<_>>());
            }
            (Err(error), Err(reason)) => prop_assert_eq!(error.reason(), reason, "{}", error),
            (found, expected) => prop_assert!(false, "{found:?}\nexpected {expected:?}"),
        }
    }

    #[test]
    fn a_damaged_document_gives_an_error_and_no_panic(
        mut bytes in random::document().prop_map(|document| encode(&document)),
        op in random::patch(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for (index, byte) in flips {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if let Err(error) = patch(&bytes, &op, &LIMITS) {
            prop_assert!(!error.message.is_empty());
        }
    }
}

fn patch_one(
    document: &Value,
    kind: Option<Kind>,
    limits: &ValueLimits,
) -> Result<Patched, Reason> {
    let op = PatchOp {
        steps: vec![PatchStep { kind }],
        ..Default::default()
    };
    patch(&encode(document), &op, limits).map_err(|error| error.reason())
}

#[test]
fn a_step_without_a_kind_or_with_a_segment_that_selects_nothing_is_refused() {
    let document = parse("{}").unwrap();
    assert_eq!(patch_one(&document, None, &LIMITS), Err(Reason::Invalid));
    let path = Some(Path {
        segments: vec![PathSegment { segment: None }],
    });
    let set = Kind::Set(SetStep {
        path,
        value: vec![0xc0].into(),
    });
    assert_eq!(
        patch_one(&document, Some(set), &LIMITS),
        Err(Reason::Invalid)
    );
}

#[test]
fn a_step_without_a_path_is_for_the_document_itself() {
    let set = Kind::Set(SetStep {
        path: None,
        value: vec![0x07].into(),
    });
    let patched = patch_one(&parse("{}").unwrap(), Some(set), &LIMITS).unwrap();
    assert_eq!(patched.value, [0x07]);
}

#[test]
fn a_value_that_is_malformed_never_gets_into_a_document() {
    let document = parse("{}").unwrap();
    for value in [
        &b""[..],
        b"\xc1",
        b"\x01\x02",
        b"\xa2\xff\xff",
        b"\x82\x01\x02\x01\x02",
        b"\x92\x01",
    ] {
        let set = Kind::Set(SetStep {
            path: Some(parse_path("a").unwrap()),
            value: value.to_vec().into(),
        });
        assert_eq!(
            patch_one(&document, Some(set), &LIMITS),
            Err(Reason::Invalid),
            "{value:02x?}"
        );
    }
}

#[test]
fn the_bytes_that_no_step_touches_stay_as_they_were_written() {
    // {"a": 1 as 64 bits, "b": "x" with a length of 32 bits, "n": 1}
    let before = b"\x83\xa1a\xcf\0\0\0\0\0\0\0\x01\xa1b\xdb\0\0\0\x01x\xa1n\x01";
    let set = Kind::Set(SetStep {
        path: Some(parse_path("n").unwrap()),
        value: vec![0x02].into(),
    });
    let op = PatchOp {
        steps: vec![PatchStep { kind: Some(set) }],
        ..Default::default()
    };
    let patched = patch(before, &op, &LIMITS).unwrap();
    assert_eq!(patched.value[..22], before[..22]);
    assert_eq!(patched.value[22..], [0x02]);
}

use proptest::prelude::*;

use super::*;

/// MessagePack bytes of every type and width, and the JSON they become.
const VECTORS: &[(&[u8], &str)] = &[
    (b"\xc0", "null"),
    (b"\xc2", "false"),
    (b"\xc3", "true"),
    // Integers of every width, at their edges.
    (b"\x00", "0"),
    (b"\x7f", "127"),
    (b"\xcc\x80", "128"),
    (b"\xcc\xff", "255"),
    (b"\xcd\x01\x00", "256"),
    (b"\xcd\xff\xff", "65535"),
    (b"\xce\x00\x01\x00\x00", "65536"),
    (b"\xce\xff\xff\xff\xff", "4294967295"),
    (b"\xcf\x00\x00\x00\x01\x00\x00\x00\x00", "4294967296"),
    (
        b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
        "18446744073709551615",
    ),
    (b"\xff", "-1"),
    (b"\xe0", "-32"),
    (b"\xd0\xdf", "-33"),
    (b"\xd0\x80", "-128"),
    (b"\xd1\xff\x7f", "-129"),
    (b"\xd1\x80\x00", "-32768"),
    (b"\xd2\xff\xff\x7f\xff", "-32769"),
    (b"\xd2\x80\x00\x00\x00", "-2147483648"),
    (b"\xd3\xff\xff\xff\xff\x7f\xff\xff\xff", "-2147483649"),
    (
        b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00",
        "-9223372036854775808",
    ),
    // Floats.
    (b"\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00", "1.0"),
    (b"\xcb\x80\x00\x00\x00\x00\x00\x00\x00", "-0.0"),
    (b"\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", "0.1"),
    (
        b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
        r#"{"$float":"nan"}"#,
    ),
    (
        b"\xcb\xff\xf8\x00\x00\x00\x00\x00\x01",
        r#"{"$float":"0xfff8000000000001"}"#,
    ),
    (
        b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00",
        r#"{"$float":"inf"}"#,
    ),
    (
        b"\xcb\xff\xf0\x00\x00\x00\x00\x00\x00",
        r#"{"$float":"-inf"}"#,
    ),
    (b"\xca\x3f\xc0\x00\x00", r#"{"$f32":1.5}"#),
    (b"\xca\x3d\xcc\xcc\xcd", r#"{"$f32":0.10000000149011612}"#),
    (b"\xca\x7f\xc0\x00\x00", r#"{"$f32":"nan"}"#),
    (b"\xca\x7f\xc0\x00\x01", r#"{"$f32":"0x7fc00001"}"#),
    (b"\xca\xff\x80\x00\x00", r#"{"$f32":"-inf"}"#),
    // Strings and bytes.
    (b"\xa0", r#""""#),
    (b"\xa5A\xc3\xa4\n\"", r#""Aä\n\"""#),
    (b"\xa1\xff", r#"{"$str":"/w=="}"#),
    (b"\xc4\x00", r#"{"$bin":""}"#),
    (b"\xc4\x02\x00\xff", r#"{"$bin":"AP8="}"#),
    (b"\xd4\x07\x01", r#"{"$ext":[7,"AQ=="]}"#),
    (b"\xd5\xff\x01\x02", r#"{"$ext":[-1,"AQI="]}"#),
    (b"\xd6\xff\x00\x00\x00\x00", r#"{"$ext":[-1,"AAAAAA=="]}"#),
    (b"\xc7\x03\x80\x01\x02\x03", r#"{"$ext":[-128,"AQID"]}"#),
    // Arrays and maps.
    (b"\x90", "[]"),
    (b"\x93\x01\xc0\x90", "[1,null,[]]"),
    (b"\x80", "{}"),
    (b"\x82\xa1b\x01\xa1a\x02", r#"{"b":1,"a":2}"#),
    (b"\x81\x01\xa3one", r#"{"$map":[[1,"one"]]}"#),
    (b"\x82\xa1a\x01\xa1a\x02", r#"{"$map":[["a",1],["a",2]]}"#),
    (b"\x81\xa4$bin\x01", r#"{"$map":[["$bin",1]]}"#),
    (b"\x82\xa4$bin\x01\xa1a\x02", r#"{"$bin":1,"a":2}"#),
    (b"\x81\x80\x80", r#"{"$map":[[{},{}]]}"#),
];

#[test]
fn every_type_and_width_has_its_json_and_comes_back_from_it() {
    for (bytes, json) in VECTORS {
        let value = from_msgpack(bytes).unwrap();
        assert_eq!(to_string(&value, false), *json);
        assert_eq!(to_msgpack(&parse(json).unwrap()), *bytes, "{json}");
        let pretty = to_string(&value, true);
        assert_eq!(to_msgpack(&parse(&pretty).unwrap()), *bytes, "{pretty}");
    }
}

#[test]
fn long_strings_bytes_arrays_and_maps_come_back() {
    for len in [15, 16, 31, 32, 255, 256, 65535, 65536] {
        let values = [
            Value::from("x".repeat(len)),
            Value::Binary(vec![0xa5; len]),
            Value::Ext(3, vec![0x5a; len]),
            Value::Array(vec![Value::from(1); len]),
            Value::Map(
                (0..len)
                    .map(|i| (format!("k{i}").into(), i.into()))
                    .collect(),
            ),
            Value::Map((0..len).map(|i| (i.into(), Value::Nil)).collect()),
        ];
        for value in values {
            assert_eq!(parse(&to_string(&value, false)).unwrap(), value);
        }
    }
}

#[test]
fn the_deepest_document_a_store_can_be_told_to_take_comes_back() {
    let deepest = (0..512).fold(Value::Nil, |inner, _| Value::Map(vec![(1.into(), inner)]));
    assert_eq!(parse(&to_string(&deepest, false)).unwrap(), deepest);
    let deeper = "[".repeat(100_000);
    assert!(
        parse(&deeper)
            .unwrap_err()
            .contains("nested deeper than 1537 levels")
    );
}

#[test]
fn bad_json_is_refused_with_the_place_or_the_remedy() {
    for (json, message) in [
        (
            "",
            "invalid JSON: EOF while parsing a value at line 1 column 0",
        ),
        ("[1,]", "invalid JSON: trailing comma at line 1 column 4"),
        (
            "1 2",
            "invalid JSON: trailing characters at line 1 column 3",
        ),
        ("-", "invalid JSON"),
        ("1-2", "invalid JSON"),
        ("\"a", "invalid JSON: EOF while parsing a string"),
        ("1e999", "invalid JSON: number out of range"),
        ("18446744073709551616", "does not fit into 64 bits"),
        (
            "[\"\\\"\", -9223372036854775809]",
            "integer -9223372036854775809 does not fit",
        ),
        (r#"{"a":1,"a":2}"#, "key \"a\" stands twice: remove one"),
        (r#"{"$oid":1}"#, "unknown type \"$oid\""),
        (r#"{"$bin":"%"}"#, "write {\"$bin\": base64}"),
        (r#"{"$str":1}"#, "write {\"$str\": base64}"),
        (r#"{"$ext":[128,""]}"#, "write {\"$ext\": [type, base64]}"),
        (r#"{"$ext":[1]}"#, "write {\"$ext\": [type, base64]}"),
        (r#"{"$f32":"1"}"#, "write {\"$f32\": number}"),
        (r#"{"$float":1.5}"#, "write {\"$float\": \"nan\""),
        (r#"{"$map":[[1]]}"#, "write {\"$map\": [[key, value], ...]}"),
        (r#"{"$map":{}}"#, "write {\"$map\": [[key, value], ...]}"),
    ] {
        let error = parse(json).unwrap_err();
        assert!(error.contains(message), "{json}: {error}");
    }
    for fine in [
        "1.8e19",
        "18446744073709551616.0",
        "\"18446744073709551616\"",
    ] {
        parse(fine).unwrap();
    }
}

#[test]
fn bytes_that_are_not_one_msgpack_value_are_refused() {
    assert!(from_msgpack(b"").is_err());
    assert!(from_msgpack(b"\x92\x01").is_err());
    assert!(
        from_msgpack(b"\x01\x02")
            .unwrap_err()
            .contains("1 more bytes")
    );
}

/// Any value, with names that come near the tags.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<u64>().prop_map(|bits| Value::F64(f64::from_bits(bits))),
        any::<f64>().prop_map(Value::F64),
        any::<u32>().prop_map(|bits| Value::F32(f32::from_bits(bits))),
        any::<f32>().prop_map(Value::F32),
        any::<String>().prop_map(Value::from),
        prop::sample::select(vec!["$bin", "$map", "$", "a"]).prop_map(Value::from),
        any::<Vec<u8>>().prop_map(|bytes| raw_string(&bytes).unwrap()),
        any::<Vec<u8>>().prop_map(Value::Binary),
        any::<(i8, Vec<u8>)>().prop_map(|(kind, bytes)| Value::Ext(kind, bytes)),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(Value::Array),
            prop::collection::vec(pair, 0..6).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_comes_back_from_json_byte_for_byte(value in any_value()) {
        let bytes = to_msgpack(&value);
        for pretty in [false, true] {
            let json = to_string(&value, pretty);
            prop_assert_eq!(to_msgpack(&parse(&json).unwrap()), bytes.clone(), "{}", json);
        }
    }
}

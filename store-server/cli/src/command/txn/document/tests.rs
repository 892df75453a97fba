use super::*;

fn read(document: &str) -> Result<TxnOp, String> {
    read_transaction(&json::parse(document).unwrap())
}

#[test]
fn every_kind_of_guard_operation_and_step_is_read() {
    let txn = read(
        r#"{
        "guards": [
            {"record": "p/1", "exists": false},
            {"record": "p/1", "rev": 7},
            {"record": "p/1", "version": 2},
            {"record": "p/%FF", "field": "bag.gold", "is": ">=", "value": 50},
            {"record": "p/1", "field": "x", "is": "missing"}
        ],
        "then": [
            {"get": "p/1"},
            {"put": "p/2", "value": {"$bin": "AA=="}, "ttl": "2s", "schema": 3, "guards": [{"rev": 0}]},
            {"patch": "p/3", "create": true, "ttl": "1ms", "schema": 0, "steps": [
                ["set", "", 1], ["unset", "a"], ["add", "g", -1, {"min": 0, "max": 9.5}], ["add", "g", 2],
                ["append", "l", 1, 2], ["remove_at", "l", -1], ["set_insert", "s", "x"], ["set_remove", "s", "x"]
            ]},
            {"del": "p/4", "guards": [{"exists": true}]}
        ],
        "otherwise": [{"get": "p/1"}]
    }"#,
    )
    .unwrap();
    assert_eq!(txn.guards.len(), 5);
    assert_eq!(txn.guards[3].key.as_ref().unwrap().key.as_ref(), b"\xff");
    assert_eq!(
        txn.guards[1].predicate.as_ref().unwrap().test,
        Some(Test::ModRev(7))
    );
    let Some(op::Kind::Put(put)) = &txn.then[1].kind else {
        panic!()
    };
    assert_eq!(
        (put.value.as_ref(), put.ttl_ms, put.schema),
        (&b"\xc4\x01\x00"[..], 2000, Some(3))
    );
    assert_eq!(put.guards[0].test, Some(Test::ModRev(0)));
    let Some(op::Kind::Patch(patch)) = &txn.then[2].kind else {
        panic!()
    };
    assert_eq!(
        (patch.steps.len(), patch.create, patch.ttl_ms, patch.schema),
        (8, true, Some(1), Some(0))
    );
    let Some(patch_step::Kind::Add(add)) = &patch.steps[2].kind else {
        panic!()
    };
    assert_eq!(
        (add.delta.as_ref(), add.min.as_ref()),
        (&b"\xff"[..], &b"\x00"[..])
    );
    assert_eq!(txn.otherwise.len(), 1);
}

#[test]
fn paths_are_text_or_lists() {
    let path = |json: &str| {
        let path = read_path(&json::parse(json).unwrap(), "here")?;
        Ok::<_, String>(
            path.segments
                .into_iter()
                .map(|s| s.segment.unwrap())
                .collect::<Vec<_>>(),
        )
    };
    let field = |name: &str| Segment::Field(name.into());
    let expected = vec![
        field("bag"),
        field("items"),
        Segment::Number(0),
        Segment::Number(-1),
        field("n"),
    ];
    assert_eq!(path(r#""bag.items[0][-1].n""#).unwrap(), expected);
    assert_eq!(path(r#"["bag", "items", 0, -1, "n"]"#).unwrap(), expected);
    assert_eq!(
        path(r#""[2].a""#).unwrap(),
        [Segment::Number(2), field("a")]
    );
    assert_eq!(path(r#"["a.b"]"#).unwrap(), [field("a.b")]);
    assert_eq!(path(r#""""#).unwrap(), []);
    for malformed in [
        r#""a..b""#,
        r#"".a""#,
        r#""a.""#,
        r#""a[x]""#,
        r#""a[1""#,
        r#""a[1]b""#,
        "7",
        "[1.5]",
    ] {
        assert!(
            path(malformed).unwrap_err().contains("malformed path"),
            "{malformed}"
        );
    }
}

#[test]
fn mistakes_are_named_with_their_place() {
    for (document, message) in [
        ("[]", "the document is no JSON object"),
        (
            r#"{"than": []}"#,
            "unknown key \"than\" in the document: there are guards, then, otherwise",
        ),
        (r#"{"then": {}}"#, "\"then\" of the document is no list"),
        (
            r#"{"then": [{"get": "p/1"}, {"pet": "p/1"}]}"#,
            "then[1] must have one of get, put, patch, del",
        ),
        (r#"{"then": [{"get": "p"}]}"#, "then[0]: \"p\" has no key"),
        (
            r#"{"then": [{"get": 1}]}"#,
            "\"get\" of then[0] is no string",
        ),
        (r#"{"then": [{"put": "p/1"}]}"#, "then[0] has no \"value\""),
        (
            r#"{"then": [{"put": "p/1", "value": 1, "ttl": 5}]}"#,
            "\"ttl\" of then[0] is no time",
        ),
        (
            r#"{"then": [{"patch": "p/1"}]}"#,
            "then[0] has no \"steps\"",
        ),
        (
            r#"{"then": [{"patch": "p/1", "steps": [["set", "a"]]}]}"#,
            "then[0].steps[0]: \"set\" with 0 operands",
        ),
        (
            r#"{"then": [{"patch": "p/1", "steps": ["set"]}]}"#,
            "then[0].steps[0] must be [step, path, ...]",
        ),
        (
            r#"{"then": [{"patch": "p/1", "steps": [["add", "a", "1"]]}]}"#,
            "is no number",
        ),
        (
            r#"{"guards": [{"record": "p/1"}]}"#,
            "guards[0] must have one of exists, rev, version, field",
        ),
        (
            r#"{"guards": [{"record": "p/1", "rev": 1, "version": 1}]}"#,
            "must have one of",
        ),
        (
            r#"{"guards": [{"record": "p/1", "rev": -1}]}"#,
            "\"rev\" of guards[0] is no revision",
        ),
        (
            r#"{"guards": [{"record": "p/1", "field": "a", "is": "~"}]}"#,
            "must be one of = !=",
        ),
        (
            r#"{"guards": [{"record": "p/1", "field": "a", "is": "="}]}"#,
            "guards[0] has no \"value\"",
        ),
        (
            r#"{"guards": [{"record": "p/1", "is": "="}]}"#,
            "without \"field\"",
        ),
    ] {
        let error = read(document).unwrap_err();
        assert!(error.contains(message), "{document}: {error}");
    }
}

//! Random values compared, against a naive comparison of trees; and what predicates say.

use proptest::prelude::*;
use rmpv::Value;
use stillpoint_proto::v1::{Comparison, FieldPredicate, Reason};
use stillpoint_store_server::value::{compare::order, equal, holds};

use crate::{
    model,
    notation::{encode, parse, parse_path},
    random,
};

/// The same value written otherwise: maps the other way round, whole numbers as floats where that is exact.
fn rewritten(value: &Value) -> Value {
    match value {
        Value::Integer(int) => match int.as_i64() {
            Some(n) if (n as f64) as i128 == i128::from(n) => Value::F64(n as f64),
            _ => value.clone(),
        },
        Value::Array(values) => Value::Array(values.iter().map(rewritten).collect()),
        Value::Map(entries) => Value::Map(
            entries
                .iter()
                .rev()
                .map(|(k, v)| (rewritten(k), rewritten(v)))
                .collect(),
        ),
        other => other.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn values_are_equal_when_their_trees_are(a in random::value(), b in random::value()) {
        prop_assert_eq!(equal(&encode(&a), &encode(&b)), Ok(model::equal(&a, &b)));
        prop_assert_eq!(order(&encode(&a), &encode(&b)), Ok(model::order(&a, &b)));
    }

    #[test]
    fn numbers_compare_by_value(a in random::number(), b in random::number()) {
        prop_assert_eq!(equal(&encode(&a), &encode(&b)), Ok(model::equal(&a, &b)));
        prop_assert_eq!(order(&encode(&a), &encode(&b)), Ok(model::order(&a, &b)));
    }

    #[test]
    fn a_value_equals_itself_written_otherwise(
        value in random::value(),
        widths in prop::collection::vec(any::<u8>(), 1..20),
    ) {
        let other = random::encode_wide(&rewritten(&value), &widths);
        prop_assert_eq!(equal(&encode(&value), &other), Ok(true));
    }
}

fn predicate(path: &str, comparison: Comparison, value: &str) -> FieldPredicate {
    FieldPredicate {
        path: Some(parse_path(path).unwrap()),
        comparison: comparison.into(),
        value: encode(&parse(value).unwrap()).into(),
        index_base: 0,
    }
}

#[test]
fn a_missing_record_fails_every_comparison_but_not_equal_and_missing() {
    use Comparison::*;
    for comparison in [
        Equal,
        NotEqual,
        Less,
        LessOrEqual,
        Greater,
        GreaterOrEqual,
        Exists,
        Missing,
    ] {
        let expected = matches!(comparison, NotEqual | Missing);
        for path in ["a", "."] {
            let predicate = predicate(path, comparison, "1");
            assert_eq!(
                holds(None, &predicate),
                Ok(expected),
                "{comparison:?} {path}"
            );
        }
    }
}

#[test]
fn a_predicate_that_is_malformed_is_refused() {
    let mut no_value = predicate("a", Comparison::Equal, "1");
    no_value.value.clear();
    let mut base = predicate("a", Comparison::Equal, "1");
    base.index_base = 2;
    let mut unknown = predicate("a", Comparison::Equal, "1");
    unknown.comparison = 99;
    let unset = predicate("a", Comparison::Unspecified, "1");
    for predicate in [no_value, base, unknown, unset] {
        for document in [None, Some(&b"\x80"[..])] {
            let error = holds(document, &predicate).unwrap_err();
            assert_eq!(error.reason(), Reason::Invalid, "{error}");
        }
    }
}

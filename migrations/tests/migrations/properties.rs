//! Random documents on random chains: every way equals applying the steps by hand, and down undoes up.

use proptest::{collection::vec, prelude::*, strategy::ValueTree};
use rmpv::Value;
use stillpoint_migrations::{Chain, Limits, Source, lint};

use crate::support::{chain_of, script};

/// Fields of the random documents. Steps are about these, so that they meet.
const FIELDS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A step that can be undone, as Lua and as what it does.
#[derive(Clone, Debug)]
enum Change {
    /// A field has another name, unless that is taken.
    Rename(usize, usize),
    /// A field goes into a table of its own.
    Wrap(usize),
    /// A new field at the top.
    Default(u32, i64),
    /// Numbers become two parts.
    Split(usize),
    /// The whole document goes one level down.
    Envelope,
    /// A map becomes a list of pairs.
    List(usize),
}

impl Change {
    /// `up` and `down`.
    fn lua(&self) -> [String; 2] {
        match self {
            Change::Rename(from, to) => {
                let (a, b) = (FIELDS[*from], FIELDS[*to]);
                // An exchange, which is its own inverse.
                let swap = format!("doc.{a}, doc.{b} = doc.{b}, doc.{a}");
                [swap.clone(), swap]
            }
            Change::Wrap(field) => {
                let field = FIELDS[*field];
                [
                    format!("doc.{field} = {{ in_{field} = doc.{field} }}"),
                    format!("doc.{field} = doc.{field}.in_{field}"),
                ]
            }
            Change::Default(name, value) => [
                format!("doc.new_{name} = {value}"),
                format!("doc.new_{name} = nil"),
            ],
            Change::Split(field) => {
                let field = FIELDS[*field];
                [
                    format!(
                        "local x = doc.{field} if math.type(x) == 'integer' then doc.{field} = {{ high = x >> 8, low = x & 255 }} \
                         else doc.{field} = {{ plain = x }} end"
                    ),
                    format!(
                        "local x = doc.{field} if x.high then doc.{field} = x.high << 8 | x.low else doc.{field} = x.plain end"
                    ),
                ]
            }
            Change::Envelope => ["return { inner = doc }".into(), "return doc.inner".into()],
            Change::List(field) => {
                let field = FIELDS[*field];
                [
                    format!(
                        "local x = doc.{field} if type(x) == 'table' and next(x) ~= nil and type(next(x)) == 'string' then \
                         local list = {{}} for k, v in pairs(x) do list[#list + 1] = {{ k, v }} end doc.{field} = {{ list = list }} \
                         else doc.{field} = {{ whole = x }} end"
                    ),
                    format!(
                        "local x = doc.{field} if x.list then local map = {{}} for _, e in ipairs(x.list) do map[e[1]] = e[2] end \
                         doc.{field} = map else doc.{field} = x.whole end"
                    ),
                ]
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let field = 0..FIELDS.len();
    prop_oneof![
        (field.clone(), field.clone()).prop_map(|(a, b)| Change::Rename(a, b)),
        field.clone().prop_map(Change::Wrap),
        (
            any::<u32>(),
            any::<i64>().prop_filter("Lua reads it as a float", |n| *n != i64::MIN)
        )
            .prop_map(|(name, value)| Change::Default(name, value)),
        field.clone().prop_map(Change::Split),
        field.prop_map(Change::List),
    ]
}

/// Steps that go together: once in an envelope, the fields are gone from the top.
fn changes() -> impl Strategy<Value = Vec<Change>> {
    (vec(change(), 1..6), any::<bool>()).prop_map(|(mut changes, envelope)| {
        if envelope {
            changes.push(Change::Envelope);
        }
        changes
    })
}

fn sources(changes: &[Change]) -> Vec<Source> {
    (1..)
        .zip(changes)
        .map(|(number, change)| {
            let [up, down] = change.lua();
            let sample = "{ a = 1, b = 'x', c = { k = 2 }, d = { 1, 2 } }";
            let samples = if number == 1 { sample.to_owned() } else { String::new() };
            script(number, &format!("up = function(doc) {up} end, down = function(doc) {down} end, samples = {{ {samples} }}"))
        })
        .collect()
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        vec(any::<u8>(), 0..8).prop_map(Value::from),
        (any::<i8>(), vec(any::<u8>(), 0..8)).prop_map(|(kind, data)| Value::Ext(kind, data)),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 24, 4, |inner| {
        let entries = prop::collection::btree_map("[a-z]{1,3}", inner.clone(), 0..4);
        let numbered = prop::collection::btree_map(any::<i16>(), inner.clone(), 0..4);
        prop_oneof![
            vec(inner, 0..4).prop_map(Value::Array),
            entries
                .prop_map(|map| Value::Map(map.into_iter().map(|(k, v)| (k.into(), v)).collect())),
            numbered
                .prop_map(|map| Value::Map(map.into_iter().map(|(k, v)| (k.into(), v)).collect())),
        ]
    })
}

/// A document with some of the fields, in any order.
fn document() -> impl Strategy<Value = Vec<u8>> {
    // To a script, extension values and the largest integers are tables, which `Change::List` would take for maps.
    let plain = value().prop_filter("a table with a meaning", |value| {
        !value.is_ext() && (!value.is_u64() || value.is_i64())
    });
    vec(prop::option::of(plain), FIELDS.len()).prop_flat_map(|values| {
        let fields = FIELDS.iter().zip(values);
        let entries: Vec<_> = fields
            .filter_map(|(name, value)| Some((Value::from(*name), value?)))
            .collect();
        Just(entries).prop_shuffle().prop_map(|entries| {
            let mut bytes = Vec::new();
            rmpv::encode::write_value(&mut bytes, &Value::Map(entries))
                .expect("memory does not fail");
            bytes
        })
    })
}

/// The document as a step that does nothing writes it.
fn rewritten(document: &[u8]) -> Vec<u8> {
    let mut same = chain_of(&[script(1, "up = function() end")]).expect("a good script");
    same.up(0, 1, b"k", document).expect("a document").to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_way_equals_the_steps_by_hand(changes in changes(), document in document()) {
        let sources = sources(&changes);
        let mut chain = chain_of(&sources).expect("good scripts");
        let last = chain.last();
        // By hand: one step at a time, each by a chain that has nothing else, through the bytes.
        let mut by_hand = vec![document.clone()];
        for source in &sources {
            let mut one = Chain::new("game", "player", std::slice::from_ref(source), Limits::default()).expect("a good script");
            let before = by_hand.last().expect("it begins with one");
            by_hand.push(one.up(source.number - 1, source.number, b"k", before).expect("it goes up").to_vec());
        }
        for from in 0..=last {
            for to in 0..=last {
                let start = &by_hand[from as usize];
                let end = if from <= to { chain.up(from, to, b"k", start) } else { chain.down(from, to, b"k", start) };
                let end = end.unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
                let expected = if to == 0 && from > 0 { rewritten(&document) } else { by_hand[to as usize].clone() };
                prop_assert_eq!(&end[..], &expected[..], "{} to {}", from, to);
            }
        }
    }

    #[test]
    fn what_only_changes_the_order_of_fields_changes_nothing(document in document()) {
        let once = rewritten(&document);
        prop_assert_eq!(rewritten(&once), once);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Nothing that is given as a script makes more of it than an error.
    #[test]
    fn bytes_that_are_no_script_are_an_error(bytes in vec(any::<u8>(), 0..300)) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let source = Source::new("game", "player", 1, "step", text);
        prop_assert!(chain_of(&[source]).is_err());
    }

    #[test]
    fn a_script_of_random_words_is_at_worst_an_error(words in vec(word(), 0..40)) {
        let body = words.join(" ");
        let limits = Limits { steps: 100_000, memory_bytes: 8 << 20, ..Limits::default() };
        let whole = Source::new("game", "player", 1, "step", body.clone());
        let function = script(1, &format!("samples = {{ {{ a = 1 }} }}, up = function(doc, key) {body} end"));
        for source in [whole, function] {
            let _ = lint(&[source], &limits);
        }
    }
}

/// A word of Lua.
fn word() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "doc",
        "key",
        "=",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        ".",
        ":",
        ",",
        ";",
        "..",
        "#",
        "+",
        "-",
        "//",
        "==",
        "<",
        "not",
        "and",
        "or",
        "local",
        "x",
        "function",
        "end",
        "if",
        "then",
        "else",
        "while",
        "do",
        "for",
        "in",
        "return",
        "goto",
        "break",
        "repeat",
        "until",
        "1",
        "0.5",
        "1e300",
        "'text'",
        "nil",
        "true",
        "pairs",
        "next",
        "pcall",
        "error",
        "tostring",
        "string",
        "table",
        "math.huge",
        "stillpoint.null",
        "stillpoint.map",
        "string.rep",
        "('%s'):format",
        "table.unpack",
        "table.sort",
        "doc.a",
        "x = 1",
        "local x = {}",
        "x[1] = doc",
        "doc[x] = x",
        "for k, v in pairs(doc) do",
        "while true do",
        "string.gsub('aaa', '.', ",
        "function(...) return ... end",
        "<close>",
        "<const>",
        "::l::",
        "goto l",
    ])
}

#[test]
fn random_chains_pass_the_lint_without_samples() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..30 {
        let changes = changes().new_tree(&mut runner).expect("a chain").current();
        let told = lint(&sources(&changes), &Limits::default());
        assert!(told.is_empty(), "{changes:?}: {told:?}");
    }
}

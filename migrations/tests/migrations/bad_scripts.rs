//! Each bad script has its own error, which names it and says what to do.

use std::time::{Duration, Instant};

use stillpoint_migrations::{Fault, Limits, Rehearsal, Source, lint};

use crate::support::{chain, chain_of, document, script, text};

/// The one thing that lint says of a whole script.
fn told(script: &str) -> String {
    let source = Source::new("game", "player", 1, "step", script);
    let faults = lint(&[source], &Limits::default());
    let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
    faults.join("\n")
}

/// The same of a script that is good but for these fields.
fn told_of(fields: &str) -> String {
    let samples = "samples = { { gold = 10, bag = { { id = 'i1' }, { id = 'i2' } } } }";
    told(&format!(
        "return {{ from = 0, to = 1, {samples}, {fields} }}"
    ))
}

#[test]
fn a_good_script_is_not_told_of() {
    assert_eq!(
        told_of("up = function(doc) doc.level = 1 end, down = function(doc) doc.level = nil end"),
        ""
    );
}

#[test]
fn what_a_script_returns_is_checked() {
    let rest = "samples = { {} }, up = function() end";
    for (script, expected) in [
        (
            "return {",
            "is not Lua: 0001_step.lua:1: unexpected symbol near <eof>",
        ),
        (
            "\x1bLua",
            "is not Lua: attempt to load a binary chunk (mode is 't')",
        ),
        (
            "",
            "returns nothing: end it with `return { from = .., to = .., up = function(doc) .. end }`",
        ),
        (
            "return 1",
            "returns a number: end it with `return { from = .., to = .., up = function(doc) .. end }`",
        ),
        ("return { to = 1 }", "has no `from`"),
        ("return { from = 0, to = 1 }", "has no `up`"),
        (
            "return { from = 0, to = 1, up = 5 }",
            "has `up` that is a number: it has to be a function",
        ),
        (
            "return { from = 0, to = 1, up = function() end, down = true }",
            "has `down` that is a boolean: it has to be a function",
        ),
        (
            "return { from = -1, to = 0 }",
            "has `from` that is a negative number: it has to be a whole number from 0 on",
        ),
        (
            "return { from = 0.5, to = 1 }",
            "has `from` that is a number with a fraction: it has to be a whole number from 0 on",
        ),
        (
            &format!("return {{ from = 1, to = 2, {rest} }}"),
            "goes from 1 to 2: number 1 goes from 0 to 1",
        ),
        (
            &format!("return {{ from = 0, to = 3, {rest} }}"),
            "goes from 0 to 3: number 1 goes from 0 to 1",
        ),
        (
            &format!("return {{ from = 0, to = 1, {rest}, lossy = 'no' }}"),
            "has `lossy` that is a string: it has to be true or false",
        ),
        (
            &format!("return {{ from = 0, to = 1, {rest}, dwon = 1 }}"),
            "has a field `dwon`, which means nothing: the fields are from, to, up, down, check, samples, keys, lossy",
        ),
        (
            &format!("return {{ from = 0, to = 1, {rest}, 5 }}"),
            "has a field `[a number]`, which means nothing: the fields are from, to, up, down, check, samples, keys, lossy",
        ),
        (
            "return { from = 0, to = 1, up = function() end, samples = 1 }",
            "has `samples` that is a number: it has to be a list of documents",
        ),
        (
            "return { from = 0, to = 1, up = function() end, samples = { {}, print } }",
            "failed: 0001_step.lua:1: there is no 'print' in a migration: it sees the document and Lua's pure functions, nothing else",
        ),
        (
            "return { from = 0, to = 1, up = function() end, samples = { {}, { f = type } } }",
            "has a sample that is no document, number 2: makes no document: cannot store a function (at f)",
        ),
        ("error 'no'", "failed: 0001_step.lua:1: no"),
        (
            "while true do end",
            "does not end: it was stopped after 10000000 steps of work",
        ),
    ] {
        assert_eq!(
            told(script),
            format!("game/player/0001_step.lua: {expected}"),
            "{script}"
        );
    }
}

#[test]
fn each_bad_function_has_its_own_error() {
    let memory = "needs more memory than the 134217728 bytes it may use";
    let endless = "does not end: it was stopped after 10000000 steps of work";
    for (fields, expected) in [
        ("up = function() while true do end end", format!("up {endless}")),
        ("up = function() repeat local ok = pcall(error) until false end", format!("up {endless}")),
        ("up = function() pcall(function() while true do end end) end", format!("up {endless}")),
        ("up = function() return ('x'):rep(1e9) end", format!("up {memory}")),
        ("up = function() pcall(string.rep, 'x', 1e9) end", format!("up {memory}")),
        ("up = function() local t = {} while true do t[#t + 1] = ('x'):rep(1000) end end", format!("up {memory}")),
        ("up = function() local s = 'x' while true do s = s .. s end end", format!("up {memory}")),
        ("up = function() local s = ('x'):rep(3e7) while true do local t = s .. 'y' end end", format!("up {endless}")),
        ("up = function() while true do local s = (''):rep(1e15) end end", format!("up {endless}")),
        ("up = function() table.unpack({}, 1, 1e15) end", format!("up {endless}")),
        ("up = function() table.move({}, 1, 1e15, 2) end", format!("up {endless}")),
        ("up = function() return (('a'):rep(200):find(('.-'):rep(20) .. 'b')) end", format!("up {endless}")),
        ("up = function() local function f() return 1 + f() end return f() end", "up calls itself too deep: the stack is full".into()),
        ("up = function() local function f() return pcall(f) end return f() end", "up calls itself too deep: the stack is full".into()),
        ("up = function() local function f(s) return (s:gsub('.', f)) end return f('x') end", "up calls itself too deep: the stack is full".into()),
        ("up = function(doc) return doc.purse.gold end", "up failed: 0001_step.lua:1: attempt to index a nil value (field 'purse')".into()),
        ("up = function(doc) error 'no such player' end", "up failed: 0001_step.lua:1: no such player".into()),
        ("up = function(doc) error({}) end", "up failed: a table instead of a message".into()),
        ("up = function(doc) return nil, 'too rich' end", "up failed: too rich".into()),
        ("up = function(doc, key) return doc, key .. '2' end", "up returns another key for the record, \"sample2\": a record keeps its key, return the document alone".into()),
        ("up = function() end, down = function(doc) return doc, 'p07' end", "down returns another key for the record, \"p07\": a record keeps its key, return the document alone".into()),
        ("up = function(doc) doc.f = pairs end", "up makes no document: cannot store a function (at f)".into()),
        ("up = function(doc) return pairs end", "up makes no document: it is a function".into()),
        ("up = function(doc) doc.bag[4] = 1 end", "up makes no document: cannot store an array with a hole at [3]: fill it with stillpoint.null or mark it with stillpoint.map{} (at bag)".into()),
        ("up = function(doc) doc.bag.size = 2 end", "up makes no document: cannot store a table with mixed keys, [1] and [\"size\"]: mark it with stillpoint.map{} (at bag)".into()),
        ("up = function(doc) doc.self = doc end", "up makes no document: cannot store a table that contains itself (at self)".into()),
        ("up = function(doc) doc.text = ('x'):rep(2 ^ 20) end", "up makes a document that is too large: value has 1048612 bytes, the limit is 1048576".into()),
        ("up = function(doc) local t = doc for _ = 1, 64 do t.t = {} t = t.t end end", "up makes a document that is too large: nested deeper than 64 levels (at t.t.t.t.t.t.t.t...)".into()),
        ("up = function(doc) seen = true end", "up failed: 0001_step.lua:1: cannot set the global 'seen': declare it local".into()),
        ("up = function(doc) pairs = 1 end", "up failed: 0001_step.lua:1: cannot set the global 'pairs': declare it local".into()),
        ("up = function(doc) string.trim = 1 end", "up failed: 0001_step.lua:1: cannot set 'trim': the libraries of Lua cannot be changed".into()),
        ("up = function(doc) doc.at = os.time() end", "up failed: 0001_step.lua:1: there is no 'os' in a migration: it sees the document and Lua's pure functions, nothing else".into()),
        ("up = function(doc) doc.id = tostring(doc) end", "up failed: 0001_step.lua:1: tostring: argument #1 is a table, which has no text: use one of its fields".into()),
        ("up = function(doc) doc.id = ('%s'):format(doc) end", "up failed: 0001_step.lua:1: format: argument #2 is a table, which has no text: use one of its fields".into()),
        ("up = function(doc) doc.id = ('%p'):format(doc) end", "up failed: 0001_step.lua:1: format: '%p' is never the same twice".into()),
        ("up = function() end, check = function(doc) return doc.gold > 10, 'poor' end", "check refuses the document: poor".into()),
        ("up = function() end, check = function(doc) return false end", "check refuses the document".into()),
        ("up = function() end, check = function(doc) return nil end", "check refuses the document".into()),
        ("up = function() end, check = function(doc) assert(doc.level, 'no level') end", "check failed: 0001_step.lua:1: no level".into()),
        ("up = function() end, check = function(doc) while true do end end", format!("check {endless}")),
        ("up = function() end, check = function(doc) doc.seen = 1 end", "check changes the document: it may only look".into()),
        ("up = function() end, down = function(doc) doc.x.y = 1 end", "down failed: 0001_step.lua:1: attempt to index a nil value (field 'x')".into()),
        ("up = function(doc) doc.gold = nil end, down = function(doc) end", "down does not undo up: gold was 10 and is gone (if that is meant, say lossy = true)".into()),
        ("up = function(doc) doc.gold = doc.gold / 2 end, down = function(doc) doc.gold = doc.gold * 2 end", "down does not undo up: gold was 10 and came back as 10.0 (if that is meant, say lossy = true)".into()),
        ("up = function(doc) doc.bag[2].id = 7 end, down = function(doc) end", "down does not undo up: bag[2].id was \"i2\" and came back as 7 (if that is meant, say lossy = true)".into()),
        ("up = function(doc) doc.new = { 1 } end, down = function(doc) end", "down does not undo up: new was not there and is [1] (if that is meant, say lossy = true)".into()),
        ("up = (function() local n = 0 return function(doc) n = n + 1 doc.n = n end end)()", "up gives another result for the same document: let it keep nothing in locals outside of its functions".into()),
        ("up = function() end, down = (function() local n = 0 return function(doc) n = n + 1 doc.n = n end end)()", "down gives another result for the same document: let it keep nothing in locals outside of its functions".into()),
    ] {
        let told = told_of(fields);
        let expected = format!("game/player/0001_step.lua: {expected}");
        assert_eq!(told, expected, "{fields}");
    }
}

#[test]
fn work_that_hides_in_single_instructions_is_stopped_by_the_clock() {
    // Comparing long strings that are equal to the end is one instruction.
    let body = "up = function() local a, b = ('x'):rep(3e7), ('x'):rep(3e7) while true do local _ = a == b end end";
    let limits = Limits {
        time: Duration::from_millis(100),
        ..Limits::default()
    };
    let began = Instant::now();
    let mut chain =
        stillpoint_migrations::Chain::new("game", "player", &[script(1, body)], limits).unwrap();
    let error = chain.up(0, 1, b"k", &[0x80]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "_any/player/0001_step.lua: up is too slow: it was stopped after 100ms of processor time"
    );
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn after_a_bad_document_the_next_is_none_the_worse() {
    let body = "up = function(doc) local t = {} while doc.bomb do t[#t + 1] = {} end \
                while doc.loop do end local function f() return 1 + f() end if doc.deep then f() end doc.ok = true end";
    let mut chain = chain(&[body]);
    for bad in ["{ bomb = 1 }", "{ loop = 1 }", "{ deep = 1 }"] {
        assert!(chain.up(0, 1, b"k", &document(bad)).is_err(), "{bad}");
        assert_eq!(
            text(&chain.up(0, 1, b"k", &document("{}")).unwrap()),
            r#"{"ok": true}"#
        );
    }
}

#[test]
fn what_does_not_fit_together_is_told() {
    let step = |namespace: &str, number: u32, name: &str| {
        let from = number - 1;
        let text = format!(
            "return {{ from = {from}, to = {number}, up = function() end, samples = {{ {{}} }} }}"
        );
        Source::new(namespace, "player", number, name, text)
    };
    for (sources, expected) in [
        (
            vec![
                step("game", 1, "a"),
                step("game", 2, "b"),
                step("_any", 3, "c"),
            ],
            vec![],
        ),
        (vec![step("game", 7, "a"), step("game", 8, "b")], vec![]),
        (
            vec![step("game", 1, "a"), step("game", 3, "c")],
            vec!["game/player/0003_c.lua: comes after number 1: number 2 is missing"],
        ),
        (
            vec![step("game", 1, "a"), step("game", 1, "b")],
            vec![
                "game/player/0001_b.lua: has the same number as game/player/0001_a.lua: give it the next one that is free",
            ],
        ),
        (
            vec![
                step("_any", 1, "a"),
                step("_any", 2, "b"),
                step("game", 2, "z"),
                step("other", 3, "c"),
            ],
            vec![
                "game/player/0002_z.lua: has the same number as _any/player/0002_b.lua: a namespace goes on where `_any` ends, it cannot go another way",
            ],
        ),
    ] {
        let told = lint(&sources, &Limits::default());
        let told: Vec<_> = told.iter().map(ToString::to_string).collect();
        assert_eq!(told, expected);
        let built = chain_of(&sources)
            .map(drop)
            .map_err(|error| error.to_string());
        assert_eq!(
            built,
            expected
                .first()
                .map_or(Ok(()), |text| Err((*text).to_owned()))
        );
    }
}

#[test]
fn a_sample_goes_on_through_the_scripts_that_follow() {
    let first = script(
        1,
        "up = function(doc) doc.purse = doc.gold end, samples = { { gold = 1 } }",
    );
    let second = script(
        2,
        "up = function(doc) doc.purse = doc.purse.gold end, samples = { { purse = { gold = 1 } } }",
    );
    let told = lint(&[first, second], &Limits::default());
    assert_eq!(told.len(), 1);
    assert_eq!(
        told[0].to_string(),
        "_any/player/0002_step.lua: up failed: 0002_step.lua:1: attempt to index a number value (field 'purse')"
    );
}

#[test]
fn samples_can_have_keys() {
    let body = "up = function(doc, key) doc.id = key end, check = function(doc, key) assert(doc.id == 'p07') end, \
                samples = { {} }, keys = { 'p07' }";
    assert_eq!(lint(&[script(1, body)], &Limits::default()), []);
}

#[test]
fn what_is_returned_beside_a_document_is_its_key_or_left_over() {
    for body in [
        "up = function(doc, key) return doc, key end",
        "up = function(doc) return doc, 2 end",
        "up = function(doc) return ('a'):gsub('a', 'b') end",
        "up = function(doc, key) key = 'p07' end",
    ] {
        assert!(
            chain(&[body]).up(0, 1, b"k", &document("{}")).is_ok(),
            "{body}"
        );
    }
}

#[test]
fn a_rehearsal_finds_on_real_data_what_samples_did_not_show() {
    let body = "up = function(doc) doc.gold = tonumber(doc.gold) end, down = function(doc) doc.gold = tostring(doc.gold) end, \
                samples = { { gold = '1' } }";
    let sources = [script(1, body)];
    assert_eq!(lint(&sources, &Limits::default()), []);
    let mut rehearsal = Rehearsal::new("game", "player", &sources, Limits::default()).unwrap();
    let error = rehearsal
        .up(0, 1, b"k", &document("{ gold = '007' }"))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "_any/player/0001_step.lua: down does not undo up: gold was \"007\" and came back as \"7\" (if that is meant, say lossy = true)"
    );
    assert!(matches!(error.fault, Fault::RoundTrip(_)));
}

#[test]
fn the_template_of_a_new_script_is_a_good_script() {
    let text = stillpoint_migrations::template(3, "purse", "player");
    let source = Source::new("game", "player", 3, "purse", text);
    assert_eq!(lint(&[source], &Limits::default()), []);
}

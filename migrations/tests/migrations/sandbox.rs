//! What a script sees, and that nothing in it depends on chance.

use crate::support::{chain, document, evaluate, text};

/// Each line: a document, the body of `up`, and the result.
#[test]
fn lua_is_as_one_knows_it() {
    for (doc, lua, expected) in [
        ("{ gold = 1 }", "doc.gold = doc.gold + 1", r#"{"gold": 2}"#),
        (
            "{ gold = 1 }",
            "return { key = key, gold = doc.gold }",
            r#"{"key": "the key", "gold": 1}"#,
        ),
        ("{}", "return ('a,b,c'):gsub(',', ';')", r#""a;b;c""#),
        (
            "{}",
            "local t = {} for w in ('one two'):gmatch '%a+' do t[#t + 1] = w:upper() end return t",
            r#"["ONE", "TWO"]"#,
        ),
        (
            "{}",
            "return { ('x=1'):match '(%w)=(%w)' }",
            r#"["x", "1"]"#,
        ),
        ("{}", "return { ('hello'):find 'l+' }", "[3, 4]"),
        (
            "{}",
            "return ('%d %s %5.2f'):format(1, 'two', 3)",
            r#""1 two  3.00""#,
        ),
        (
            "{}",
            "return { tostring(1), tostring(1.0), tostring(true), tostring(nil), tostring(stillpoint.null) }",
            r#"["1", "1.0", "true", "nil", "null"]"#,
        ),
        (
            "{}",
            "return { 7 // 2, 7 / 2, tostring(2 ^ 2), 7 % 3, 1 << 4 }",
            r#"[3, 3.5, "4.0", 1, 16]"#,
        ),
        ("{}", "return table.concat({ 1, 2, 3 }, '-', 2)", r#""2-3""#),
        (
            "{}",
            "return table.move({ 1, 2, 3 }, 1, 3, 2)",
            "[1, 1, 2, 3]",
        ),
        ("{}", "return table.move({ 1, 2, 3 }, 2, 3, 1)", "[2, 3, 3]"),
        (
            "{}",
            "local t = { 1, 2, 3 } table.insert(t, 2, 9) table.insert(t, 4) return { table.remove(t, 1), t }",
            "[1, [9, 2, 3, 4]]",
        ),
        (
            "{}",
            "return { select('#', table.unpack({ 1, nil, 3 }, 1, 3)) }",
            "[3]",
        ),
        (
            "{}",
            "return { utf8.char(228, 8364), utf8.len 'äö', #utf8.charpattern }",
            r#"["ä€", 2, 14]"#,
        ),
        (
            "{}",
            "return { math.floor(1.5), math.type(1), math.type(1.0), math.max(1, 3), math.tointeger(3.0) }",
            r#"[1, "integer", "float", 3, 3]"#,
        ),
        ("{}", "return { pcall(error, 'no', 0) }", r#"[false, "no"]"#),
        (
            "{}",
            "return { (pcall(function() local x = nil; return x.y end)) }",
            "[false]",
        ),
        (
            "{}",
            "return { string.unpack('>I4', string.pack('>I4', 258)) }",
            "[258, 5]",
        ),
        ("{}", "goto done do return 1 end ::done:: return 2", "2"),
        (
            "{ a = stillpoint.null }",
            "return { doc.a == stillpoint.null, type(doc.a) }",
            r#"[true, "userdata"]"#,
        ),
        (
            "{ n = stillpoint.int64 '18446744073709551615' }",
            "return { tostring(doc.n), doc.n > 1, doc.n == stillpoint.int64 '18446744073709551615', doc.n }",
            r#"["18446744073709551615", true, true, 18446744073709551615]"#,
        ),
        (
            "{ list = stillpoint.array {} }",
            "doc.map = {} doc.same = doc.list",
            r#"{"map": {}, "list": [], "same": []}"#,
        ),
        (
            "stillpoint.map { [1] = 'a', [30] = 'b' }",
            "doc[2] = 'c'",
            r#"{1: "a", 2: "c", 30: "b"}"#,
        ),
        (
            "stillpoint.ext(5, 'ab')",
            "return { doc.type, doc.data, doc }",
            r#"[5, "ab", [5, [97, 98]]]"#,
        ),
        ("'\\xff'", "return { doc, #doc }", r#"[[255], 1]"#),
        ("1.0", "return tostring(doc)", r#""1.0""#),
        (
            "{}",
            "return { ('ab'):rep(2), ('ab'):rep(2, '-'), (''):rep(5), ('x'):rep(0), (''):rep(3, ',') }",
            r#"["abab", "ab-ab", "", "", ",,"]"#,
        ),
        ("5", "", "5"),
        ("true", "return false", "false"),
    ] {
        assert_eq!(evaluate(doc, lua).as_deref(), Ok(expected), "{lua}");
    }
}

#[test]
fn what_is_not_pure_is_not_there() {
    for name in [
        "collectgarbage",
        "coroutine",
        "debug",
        "dofile",
        "getmetatable",
        "io",
        "load",
        "loadfile",
        "loadstring",
        "os",
        "package",
        "print",
        "rawequal",
        "rawget",
        "rawlen",
        "rawset",
        "require",
        "setmetatable",
        "warn",
        "xpcall",
        "_G",
        "_VERSION",
        "nosuch",
    ] {
        let error = evaluate("{}", &format!("return {name}")).unwrap_err();
        assert!(
            error.contains(&format!("there is no '{name}' in a migration")),
            "{error}"
        );
    }
    for name in [
        "string.dump",
        "math.random",
        "math.randomseed",
        "stillpoint.connect",
    ] {
        assert_eq!(
            evaluate("{}", &format!("return {{ {name} == nil }}")).as_deref(),
            Ok("[true]"),
            "{name}"
        );
    }
}

#[test]
fn nothing_can_be_left_for_the_next_document() {
    for lua in [
        "string.x = 1",
        "stillpoint.null = 1",
        "math.pi = 3",
        "table.insert(table, 1)",
        "x = 1",
        "_ENV.x = 1",
        "type = nil",
        "(''):len().x = 1",
        "utf8.charpattern = ''",
        "table.sort = nil",
        "local s = string s.upper = s.lower",
    ] {
        assert!(evaluate("{}", lua).is_err(), "{lua}");
    }
    // A new `_ENV` is the function's own.
    assert_eq!(
        evaluate("{}", "local _ENV = { doc = doc } x = 1 doc.x = x").as_deref(),
        Ok(r#"{"x": 1}"#)
    );
}

#[test]
fn pairs_and_next_go_in_the_order_of_the_keys() {
    let doc = "stillpoint.map { b = 1, a = 2, ab = 3, [2] = 4, [1] = 5, [1.5] = 6, [-1] = 7, [true] = 8, [false] = 9, [''] = 10 }";
    let expected = "[7, 5, 6, 4, 10, 2, 3, 1, 9, 8]";
    for lua in [
        "local t = {} for _, v in pairs(doc) do t[#t + 1] = v end return t",
        "local t = {} for _, v in next, doc do t[#t + 1] = v end return t",
        "local t, k, v = {}, next(doc) while k ~= nil do t[#t + 1] = v k, v = next(doc, k) end return t",
    ] {
        assert_eq!(evaluate(doc, lua).as_deref(), Ok(expected), "{lua}");
    }
    for (doc, lua, expected) in [
        (
            "{}",
            "return { next(doc) == nil, (next { a = 1, b = 2 }) }",
            r#"[true, "a"]"#,
        ),
        // What is taken away is left out, what is added does not come.
        (
            "{ a = 1, b = 2, c = 3 }",
            "local t = {} for k in pairs(doc) do t[#t + 1] = k doc.b = nil doc[k .. k] = 1 end return t",
            r#"["a", "c"]"#,
        ),
        (
            "{ 1, 2, 3 }",
            "local n = 0 for i, v in pairs(doc) do n = n * 10 + i * v end return n",
            "149",
        ),
    ] {
        assert_eq!(evaluate(doc, lua).as_deref(), Ok(expected), "{lua}");
    }
    let error = evaluate("{}", "for _ in pairs { [{}] = 1 } do end").unwrap_err();
    assert!(
        error.contains("has a table as a key: such keys have no order"),
        "{error}"
    );
}

#[test]
fn sort_is_stable_and_right() {
    let numbers = "local t = {} local x = 1 for i = 1, n do x = (x * 1103515245 + 12345) % 2147483648 t[i] = { k = x % 10, i = i } end";
    for n in [0, 1, 2, 3, 5, 64, 1000] {
        let lua = format!(
            "local n = {n} {numbers} table.sort(t, function(a, b) return a.k < b.k end) \
             for i = 2, n do assert(t[i - 1].k < t[i].k or t[i - 1].k == t[i].k and t[i - 1].i < t[i].i) end return #t"
        );
        assert_eq!(evaluate("{}", &lua), Ok(n.to_string()));
    }
    assert_eq!(
        evaluate("{}", "local t = { 'b', 'c', 'a' } table.sort(t) return t").as_deref(),
        Ok(r#"["a", "b", "c"]"#)
    );
    let error = evaluate("{}", "table.sort { 1, 'a' }").unwrap_err();
    assert!(error.contains("attempt to compare"), "{error}");
}

#[test]
fn a_table_built_in_whatever_order_is_the_same_document() {
    let keys: Vec<String> = (0..40).map(|i| format!("k{i}")).collect();
    let build = |keys: &mut dyn Iterator<Item = &String>| {
        let sets: String = keys.map(|key| format!("t.{key} = 1 ")).collect();
        let body = format!("up = function() local t = {{}} {sets} return t end");
        chain(&[&body]).up(0, 1, b"k", &[0x80]).unwrap()
    };
    assert_eq!(build(&mut keys.iter()), build(&mut keys.iter().rev()));
}

#[test]
fn a_document_that_nothing_is_done_to_keeps_its_values() {
    for doc in [
        "{ 0, -1, 127, 128, -32, -33, 65535, 4294967296, math.maxinteger, math.mininteger }",
        "{ 0.5, 1.0, -0.0, 1e300, math.huge, -math.huge }",
        "{ '', 'text', '\\xff\\xfe', ('x'):rep(300), ('y'):rep(70000) }",
        "{ a = { b = { c = stillpoint.array {} } }, d = {}, e = stillpoint.null, f = stillpoint.map { [5] = 1, [6.5] = 2, [true] = 3 } }",
        "{ stillpoint.ext(-1, 'abcd'), stillpoint.int64 '9223372036854775808' }",
    ] {
        let document = document(doc);
        let mut chain = chain(&["up = function() end"]);
        let after = chain.up(0, 1, b"k", &document).unwrap();
        assert_eq!(after, document, "{doc}: {}", text(&after));
    }
}

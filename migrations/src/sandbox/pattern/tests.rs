//! Compares the four functions with those of Lua itself.

use std::ffi::CStr;

use mlua::ffi as sys;
use proptest::prelude::*;
use stillpoint_value::lua::{self, lua_State};

use super::super::budget::{self, Budget};
use crate::Limits;

/// A state with Lua's own `string`, and ours as `ours`.
struct State {
    lua: *mut lua_State,
    budget: *mut Budget,
}

/// Gives what each library makes of it, as text.
const COMPARE: &CStr = c"
    local subject, pattern, replacement, init = ...
    local function text(...)
        local all = table.pack(...)
        for i = 1, all.n do all[i] = tostring(all[i]):gsub('^[^ ]*:%d+: ', '') end
        return table.concat(all, '|')
    end
    local function all_of(lib)
        local found = {}
        local function note(...) found[#found + 1] = text(...) end
        note(pcall(lib.find, subject, pattern, init))
        note(pcall(lib.find, subject, pattern, init, true))
        note(pcall(lib.match, subject, pattern, init))
        note(pcall(lib.gsub, subject, pattern, replacement))
        note(pcall(lib.gsub, subject, pattern, replacement, 2))
        note(pcall(lib.gsub, subject, pattern, function(...) note('f', ...) return select('#', ...) > 1 and 'x' end))
        note(pcall(lib.gsub, subject, pattern, { a = 'y', ab = false, [1] = 'z' }))
        note(pcall(function() for a, b in lib.gmatch(subject, pattern, init) do note('g', a, b) end end))
        return table.concat(found, '\\n')
    end
    return all_of(string), all_of(ours)";

impl State {
    fn new(steps: u64) -> State {
        let limits = Limits {
            steps,
            ..Limits::default()
        };
        let budget = Box::into_raw(Box::new(Budget::new(&limits)));
        // SAFETY: the budget lives until the state is closed, in `drop`; what is called may raise only if memory runs out.
        unsafe {
            let lua = budget::new_state(budget);
            sys::luaL_openlibs(lua);
            lua::lua_createtable(lua, 0, 4);
            for (name, function) in [
                (c"find", super::find as lua::lua_CFunction),
                (c"match", super::match_),
                (c"gmatch", super::gmatch),
                (c"gsub", super::gsub),
            ] {
                lua::push_function(lua, function, 0);
                lua::lua_setfield(lua, -2, name.as_ptr());
            }
            sys::lua_setglobal(lua, c"ours".as_ptr());
            State { lua, budget }
        }
    }

    /// Runs a chunk with strings (and a number) as arguments; its two results.
    fn run(&self, chunk: &CStr, strings: &[&[u8]], number: i64) -> Result<[Vec<u8>; 2], Vec<u8>> {
        // SAFETY: the stack is empty but for what is pushed here, and that is little.
        unsafe {
            lua::lua_settop(self.lua, 0);
            (*self.budget).begin();
            let code = chunk.to_bytes();
            let status = sys::luaL_loadbufferx(
                self.lua,
                code.as_ptr().cast(),
                code.len(),
                c"=test".as_ptr(),
                c"t".as_ptr(),
            );
            assert_eq!(status, lua::LUA_OK);
            for string in strings {
                lua::push_bytes(self.lua, string);
            }
            lua::push_integer(self.lua, number);
            let text = |at| match lua::lua_type(self.lua, at) {
                lua::LUA_TSTRING => lua::string_at(self.lua, at).to_vec(),
                _ => b"no text".to_vec(),
            };
            match lua::protected_call(self.lua, strings.len() as i32 + 1, 2) {
                lua::LUA_OK => Ok([text(1), text(2)]),
                _ => Err(text(-1)),
            }
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // SAFETY: both were made in `new`, and the state goes first.
        unsafe {
            sys::lua_close(self.lua);
            drop(Box::from_raw(self.budget));
        }
    }
}

fn assert_same(subject: &[u8], pattern: &[u8], replacement: &[u8], init: i64) {
    let state = State::new(100_000_000);
    let [theirs, ours] = state
        .run(COMPARE, &[subject, pattern, replacement], init)
        .unwrap_or_else(|error| panic!("{}", String::from_utf8_lossy(&error)));
    // Lua names the place of two faults further.
    let plain = |text: Vec<u8>| {
        String::from_utf8_lossy(&text)
            .replace(" in pattern", "")
            .replace(" in replacement string", "")
    };
    assert_eq!(
        plain(ours),
        plain(theirs),
        "subject {:?}, pattern {:?}, replacement {:?}, init {init}",
        String::from_utf8_lossy(subject),
        String::from_utf8_lossy(pattern),
        String::from_utf8_lossy(replacement),
    );
}

#[test]
fn patterns_that_people_write_match_as_in_lua() {
    for (subject, pattern) in [
        ("key = value", "^(%w+)%s*=%s*(%w+)$"),
        ("THE (quick) fox", "%((%a+)%)"),
        ("THE (quick) fox", "%f[%a]%a+%f[%A]"),
        ("f(a(b)c)d", "%b()"),
        ("hello", "()ll()"),
        ("abcabc", "(abc)%1"),
        ("2026-11-23", "(%d+)-(%d+)-(%d+)"),
        ("  trim me  ", "^%s*(.-)%s*$"),
        ("a.b.c", "[^.]+"),
        ("a,b,,c", "([^,]*)"),
        ("x", ""),
        ("", "^"),
        ("abc", "[a-c]+$"),
        ("]", "[]]"),
        ("a-b", "[a%-]"),
        ("\0a\0", "%z*"),
        ("%d", "%%d"),
    ] {
        assert_same(subject.as_bytes(), pattern.as_bytes(), b"<%0|%1>", 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_patterns_match_as_in_lua(
        subject in "[ab(]{0,8}",
        pattern in r"([ab().*+?^$\[\]-]|%[abfw%1d]|\[\^?[ab]-?[b%]?\]|%b\(\)|%f\[a\]|\(\)){0,6}",
        replacement in "([ab]|%[01289%]){0,3}",
        init in -9_i64..10,
    ) {
        assert_same(subject.as_bytes(), pattern.as_bytes(), replacement.as_bytes(), init);
    }

    #[test]
    fn random_bytes_match_as_in_lua(
        subject in prop::collection::vec(any::<u8>(), 0..12),
        pattern in prop::collection::vec(any::<u8>(), 0..6),
    ) {
        assert_same(&subject, &pattern, b"%1", 1);
    }
}

#[test]
fn a_pattern_that_never_ends_is_stopped() {
    let state = State::new(1_000_000);
    for chunk in [
        c"return ours.find(('a'):rep(300), ('.-'):rep(20) .. 'b')",
        c"return ours.match(('a'):rep(300), ('a*'):rep(20) .. 'b')",
        c"return ours.gsub(('a'):rep(300), ('a?'):rep(20) .. ('.-'):rep(20) .. 'b', '')",
        c"for _ in ours.gmatch(('a'):rep(300), ('.-'):rep(20) .. 'b') do end",
        c"return ours.find(('('):rep(100000), ('%b()'):rep(1))",
    ] {
        assert!(state.run(chunk, &[], 0).is_err(), "{chunk:?}");
        // SAFETY: the budget lives as long as `state`.
        let stopped = unsafe { (*state.budget).stopped() };
        assert_eq!(stopped, Some(budget::Stop::Work), "{chunk:?}");
    }
}

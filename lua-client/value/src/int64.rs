//! 64-bit integers that a Lua number cannot hold.
//!
//! | Lua | within | beyond |
//! |---|---|---|
//! | 5.3, 5.4, 5.5 | ±2^63: an integer | to 2^64: a wrapper |
//! | LuaJIT | ±2^53: a number | `int64_t`, above 2^63 `uint64_t` cdata (without the ffi library: a wrapper) |
//! | 5.1, 5.2 | ±2^53: a number | a wrapper |
//!
//! The wrapper is a table with the metatable behind [`INT64_MT`]:
//!
//! ```lua
//! { hi = 0..2^32-1, lo = 0..2^32-1, unsigned = boolean }   -- the bits; signed ones in two's complement
//! ```
//!
//! What it can do (`__tostring`, comparing) is up to who owns the metatable; [`operand`] and [`compare`] are here for it.

use std::{cmp::Ordering, ffi::c_void, os::raw::c_int};

use crate::{
    lua::{self, Number, lua_State},
    marks::INT64_MT,
    refusal::Refusal,
};

/// Pushes an integer from -2^63 to 2^64-1 in the form that holds it. Raising.
pub unsafe fn push(lua: *mut lua_State, integer: i128) {
    #[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
    let held = i64::try_from(integer).ok();
    #[cfg(not(any(feature = "lua53", feature = "lua54", feature = "lua55")))]
    let held = i64::try_from(integer)
        .ok()
        .filter(|n| n.unsigned_abs() <= lua::EXACT_FLOAT_MAX as u64);

    match held {
        Some(n) => lua::push_integer(lua, n),
        None => push_bits(lua, integer as u64, integer > i64::MAX.into()),
    }
}

/// Pushes a cdata, or a wrapper. Raising.
unsafe fn push_bits(lua: *mut lua_State, bits: u64, unsigned: bool) {
    let (hi, lo) = ((bits >> 32) as f64, (bits & 0xffff_ffff) as f64);

    #[cfg(feature = "luajit")]
    if cdata::push(lua, hi, lo, unsigned) {
        return;
    }
    lua::lua_createtable(lua, 0, 3);
    lua::push_integer(lua, hi as i64);
    lua::lua_setfield(lua, -2, c"hi".as_ptr());
    lua::push_integer(lua, lo as i64);
    lua::lua_setfield(lua, -2, c"lo".as_ptr());
    lua::lua_pushboolean(lua, unsigned.into());
    lua::lua_setfield(lua, -2, c"unsigned".as_ptr());
    lua::lua_pushvalue(lua, lua::lua_upvalueindex(INT64_MT));
    lua::lua_setmetatable(lua, -2);
}

/// The integer that the wrapper at `at`, the top of the stack, stands for. Quiet.
pub unsafe fn of_wrapper(lua: *mut lua_State, at: c_int) -> Result<i128, Box<Refusal>> {
    let (mut hi, mut lo, mut unsigned) = (None, None, false);

    let top = lua::lua_gettop(lua);
    lua::lua_pushnil(lua);
    while lua::lua_next(lua, at) != 0 {
        let name =
            (lua::lua_type(lua, top + 1) == lua::LUA_TSTRING).then(|| lua::string_at(lua, top + 1));
        match (name, lua::lua_type(lua, top + 2)) {
            (Some(b"hi"), lua::LUA_TNUMBER) => hi = half(lua, top + 2),
            (Some(b"lo"), lua::LUA_TNUMBER) => lo = half(lua, top + 2),
            (Some(b"unsigned"), lua::LUA_TBOOLEAN) => {
                unsigned = lua::lua_toboolean(lua, top + 2) != 0
            }
            _ => {
                hi = None;
                lua::lua_settop(lua, top);
                break;
            }
        }
        lua::pop(lua, 1);
    }

    let (Some(hi), Some(lo)) = (hi, lo) else {
        return Err(Refusal::new(
            "a 64-bit integer is { hi = 0..2^32-1, lo = 0..2^32-1, unsigned = boolean }",
        ));
    };
    let bits = u64::from(hi) << 32 | u64::from(lo);
    Ok(if unsigned {
        bits.into()
    } else {
        (bits as i64).into()
    })
}

unsafe fn half(lua: *mut lua_State, at: c_int) -> Option<u32> {
    match lua::number_at(lua, at) {
        Number::Integer(n) => u32::try_from(n).ok(),
        Number::Float(_) => None,
    }
}

/// The integer that the cdata at `at` is, if it is one. Quiet, but asks the ffi library what it is.
#[cfg(feature = "luajit")]
pub unsafe fn of_cdata(lua: *mut lua_State, at: c_int) -> Option<i128> {
    cdata::read(lua, at)
}

/// What can be compared with a 64-bit integer.
#[derive(Clone, Copy, Debug)]
pub enum Operand {
    /// A wrapper, a cdata, or a number that is an integer.
    Integer(i128),
    /// Any other number.
    Float(f64),
}

/// The wrapper (by the mark of wrappers), cdata or number at `at`. Quiet.
pub unsafe fn operand(lua: *mut lua_State, int64: *const c_void, at: c_int) -> Option<Operand> {
    match lua::lua_type(lua, at) {
        lua::LUA_TNUMBER => Some(match lua::number_at(lua, at) {
            Number::Integer(n) => Operand::Integer(n.into()),
            Number::Float(float) => Operand::Float(float),
        }),
        lua::LUA_TTABLE if lua::lua_getmetatable(lua, at) != 0 => {
            let metatable = lua::lua_topointer(lua, -1);
            lua::pop(lua, 1);
            if metatable != int64 {
                return None;
            }
            of_wrapper(lua, at).ok().map(Operand::Integer)
        }
        #[cfg(feature = "luajit")]
        lua::LUA_TCDATA => of_cdata(lua, at).map(Operand::Integer),
        _ => None,
    }
}

/// The integer that a whole number, a decimal string, a cdata or a wrapper is. Quiet.
pub unsafe fn whole(lua: *mut lua_State, int64: *const c_void, at: c_int) -> Option<i128> {
    let integer = match operand(lua, int64, at) {
        Some(Operand::Integer(n)) => Some(n),
        Some(Operand::Float(float)) => (float.trunc() == float).then_some(float as i128),
        None if lua::lua_type(lua, at) == lua::LUA_TSTRING => {
            std::str::from_utf8(lua::string_at(lua, at))
                .ok()
                .and_then(|text| text.trim().parse().ok())
        }
        None => None,
    };
    integer.filter(|n| (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(n))
}

/// How two numbers compare, exactly.
pub fn compare(left: Operand, right: Operand) -> Option<Ordering> {
    match (left, right) {
        (Operand::Integer(a), Operand::Integer(b)) => Some(a.cmp(&b)),
        (Operand::Float(a), Operand::Float(b)) => a.partial_cmp(&b),
        (Operand::Integer(a), Operand::Float(b)) => compare_with_float(a, b),
        (Operand::Float(a), Operand::Integer(b)) => compare_with_float(b, a).map(Ordering::reverse),
    }
}

/// Exact, also where the float has no room for the integer.
fn compare_with_float(integer: i128, float: f64) -> Option<Ordering> {
    let whole = float.trunc();
    let rest = (0.0)
        .partial_cmp(&(float - whole))
        .unwrap_or(Ordering::Equal);
    (!float.is_nan()).then(|| integer.cmp(&(whole as i128)).then(rest))
}

/// 64-bit cdata, through LuaJIT's ffi library.
#[cfg(feature = "luajit")]
pub mod cdata {
    use std::os::raw::c_int;

    use crate::{
        lua::{self, lua_State},
        marks::{CDATA_KIND, CDATA_MAKE},
    };

    /// Returns the functions behind [`CDATA_KIND`] and [`CDATA_MAKE`].
    const SHIM: &std::ffi::CStr = c"
        local ffi = require 'ffi'
        local int64, uint64 = ffi.typeof 'int64_t', ffi.typeof 'uint64_t'
        local function kind(x)
            return ffi.istype(int64, x) and 1 or ffi.istype(uint64, x) and 2 or 0
        end
        local function make(hi, lo, unsigned)
            local n = uint64(hi) * 4294967296ULL + uint64(lo)
            return unsigned and n or ffi.cast(int64, n)
        end
        return kind, make";

    /// Pushes both functions, or two nils where the ffi library is not to be had. Raising.
    pub unsafe fn push_shim(lua: *mut lua_State) {
        let top = lua::lua_gettop(lua);
        let code = SHIM.to_bytes();
        let name = c"=stillpoint_core".as_ptr();
        if lua::late::loadbuffer(lua, code.as_ptr().cast(), code.len(), name) != lua::LUA_OK
            || lua::protected_call(lua, 0, 2) != lua::LUA_OK
        {
            lua::lua_settop(lua, top);
            lua::lua_pushnil(lua);
            lua::lua_pushnil(lua);
        }
    }

    /// Pushes a cdata of these bits; false: there is no ffi library. Raising.
    pub(super) unsafe fn push(lua: *mut lua_State, hi: f64, lo: f64, unsigned: bool) -> bool {
        if lua::lua_type(lua, lua::lua_upvalueindex(CDATA_MAKE)) != lua::LUA_TFUNCTION {
            return false;
        }
        lua::lua_pushvalue(lua, lua::lua_upvalueindex(CDATA_MAKE));
        lua::lua_pushnumber(lua, hi);
        lua::lua_pushnumber(lua, lo);
        lua::lua_pushboolean(lua, unsigned.into());
        if lua::protected_call(lua, 3, 1) != lua::LUA_OK {
            lua::lua_error(lua)
        }
        true
    }

    /// The integer that the cdata at `at` is, if it is one.
    pub(super) unsafe fn read(lua: *mut lua_State, at: c_int) -> Option<i128> {
        if lua::lua_type(lua, at) != lua::LUA_TCDATA {
            return None;
        }
        lua::lua_pushvalue(lua, lua::lua_upvalueindex(CDATA_KIND));
        lua::lua_pushvalue(lua, at);
        let kind = match lua::protected_call(lua, 1, 1) {
            lua::LUA_OK if lua::lua_type(lua, -1) == lua::LUA_TNUMBER => lua::number_at(lua, -1),
            _ => lua::Number::Integer(0),
        };
        lua::pop(lua, 1);
        // For a cdata this is the address of its payload, here 8 bytes.
        let payload = lua::lua_topointer(lua, at);
        match kind {
            lua::Number::Integer(1) => Some(payload.cast::<i64>().read_unaligned().into()),
            lua::Number::Integer(2) => Some(payload.cast::<u64>().read_unaligned().into()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_floats_compare_exactly_beyond_2_to_the_53() {
        let cases = [
            (1 << 53, 9_007_199_254_740_992.0, Some(Ordering::Equal)),
            (
                (1 << 53) + 1,
                9_007_199_254_740_992.0,
                Some(Ordering::Greater),
            ),
            (-1, -1.5, Some(Ordering::Greater)),
            (1, 1.5, Some(Ordering::Less)),
            (u64::MAX.into(), f64::INFINITY, Some(Ordering::Less)),
            (i64::MIN.into(), f64::NEG_INFINITY, Some(Ordering::Greater)),
            (0, f64::NAN, None),
        ];
        for (integer, float, expected) in cases {
            assert_eq!(
                compare_with_float(integer, float),
                expected,
                "{integer} {float}"
            );
        }
    }
}

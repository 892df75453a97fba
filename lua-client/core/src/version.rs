//! Which Lua this is built for, and whether the running one is that.
//!
//! A module of another Lua version would not fail, it would crash: the C API's pseudo-indices and signatures differ.
//! Each version is known by a symbol that the versions before it lack, so that nothing has to be called to find out.

/// The Lua this is built for, as users call it.
#[rustfmt::skip]
pub const LUA_VERSION: &str =
    if cfg!(feature = "luajit") { "LuaJIT" }
    else if cfg!(feature = "lua51") { "Lua 5.1" }
    else if cfg!(feature = "lua52") { "Lua 5.2" }
    else if cfg!(feature = "lua53") { "Lua 5.3" }
    else if cfg!(feature = "lua54") { "Lua 5.4" }
    else { "Lua 5.5" };

/// The Lua that runs, from the newest to the oldest: the first whose symbol is there.
#[cfg(feature = "module")]
const RUNNING: [(&str, &str); 6] = [
    ("LuaJIT", "luaJIT_setmode\0"),
    ("Lua 5.5", "lua_pushexternalstring\0"),
    ("Lua 5.4", "lua_setwarnf\0"),
    ("Lua 5.3", "lua_rotate\0"),
    ("Lua 5.2", "lua_callk\0"),
    ("Lua 5.1", "lua_objlen\0"),
];

/// Checks that the running Lua is the one this is built for, and binds what only that one has; else says what to do.
#[cfg(feature = "module")]
pub(crate) fn check() -> Result<(), String> {
    use crate::lua::late;
    let running = RUNNING
        .iter()
        .find(|(_, symbol)| late::symbol(symbol).is_some())
        .map_or("an unknown Lua", |(name, _)| name);
    if running != LUA_VERSION {
        return Err(format!(
            "stillpoint_core was built for {LUA_VERSION}, this is {running}: \
             put the module built for {running} first in package.cpath"
        ));
    }
    late::resolve().map_err(|symbol| {
        format!("stillpoint_core needs a stock {LUA_VERSION}, this one lacks {symbol}")
    })
}

/// Lua's own check, which also compares the sizes of its numbers. Raising.
///
/// # Safety
///
/// [`check`] has passed.
pub(crate) unsafe fn check_by_lua(_lua: *mut crate::lua::lua_State) {
    #[cfg(feature = "lua52")]
    {
        crate::lua::late::checkversion(_lua, 502.0)
    }
    #[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
    {
        let sizes = size_of::<mlua::ffi::lua_Integer>() * 16 + size_of::<mlua::ffi::lua_Number>();
        let minor = match LUA_VERSION {
            "Lua 5.3" => 503.0,
            "Lua 5.4" => 504.0,
            _ => 505.0,
        };
        crate::lua::late::checkversion(_lua, minor, sizes)
    }
}

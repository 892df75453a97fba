//! `require "stillpoint_core"`: builds the module's table.

use std::{ffi::CStr, os::raw::c_int};

use crate::{
    codec::{int64, verbs as codec},
    connection::{clock, command, event, handle, session, verbs as connection, watch},
    context::{
        ARRAY_MT, CDATA_MAKE, CONTEXT, Context, ERROR_MT, EXT_MT, HANDLE_MT, INT64_MT, MAP_MT,
        Marks, PUSHER,
    },
    entry,
    lua::{self, lua_State},
};

/// Stack slots that opening takes.
const SLOTS: c_int = 40;

/// The module's functions.
const FUNCTIONS: [(&CStr, lua::lua_CFunction); 26] = [
    (c"encode", codec::encode),
    (c"decode", codec::decode),
    (c"int64", int64::new),
    (c"connect", connection::connect),
    (c"close", connection::close),
    (c"info", connection::info),
    (c"fd", connection::fd),
    (c"call", connection::call),
    (c"submit", connection::submit),
    (c"wait", connection::wait),
    (c"take", connection::take),
    (c"next", connection::next),
    (c"poll", connection::poll),
    (c"forget", connection::forget),
    (c"session", session::session),
    (c"end_session", session::end_session),
    (c"unsaved", session::unsaved),
    (c"event", event::event),
    (c"answer", command::answer),
    (c"awaited", command::awaited),
    (c"watch", watch::watch),
    (c"watch_next", watch::watch_next),
    (c"unwatch", watch::unwatch),
    (c"now", clock::now),
    (c"sleep", clock::sleep),
    (c"pid", clock::pid),
];

/// What `core.int64_mt` does.
const INT64_METHODS: [(&CStr, lua::lua_CFunction); 4] = [
    (c"__tostring", int64::to_string),
    (c"__eq", int64::equal),
    (c"__lt", int64::less),
    (c"__le", int64::less_or_equal),
];

/// The metatables that the module's table shows.
const METATABLES: [(&CStr, c_int); 5] = [
    (c"array_mt", ARRAY_MT),
    (c"map_mt", MAP_MT),
    (c"ext_mt", EXT_MT),
    (c"int64_mt", INT64_MT),
    (c"error_mt", ERROR_MT),
];

/// The entry that `require "stillpoint_core"` calls.
///
/// # Safety
///
/// Called by Lua. A module built for another Lua raises.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn luaopen_stillpoint_core(lua: *mut lua_State) -> c_int {
    #[cfg(feature = "module")]
    {
        // Kept for ever, since nothing may be held when raising; `require` mostly fails once.
        if let Err(message) = crate::version::check() {
            lua::push_bytes(lua, message.leak().as_bytes());
            lua::lua_error(lua)
        }
        entry::quiet_panics();
    }
    crate::version::check_by_lua(lua);
    open(lua)
}

/// Pushes the module's table. Raising; holds nothing.
unsafe fn open(lua: *mut lua_State) -> c_int {
    if lua::lua_checkstack(lua, SLOTS) == 0 {
        return 0;
    }
    lua::lua_createtable(lua, 0, 40);
    let module = lua::lua_gettop(lua);
    push_upvalues(lua);
    for (name, upvalue) in METATABLES {
        lua::lua_pushvalue(lua, module + upvalue);
        lua::lua_setfield(lua, module, name.as_ptr());
    }
    for (name, function) in FUNCTIONS {
        push_closure(lua, module, function);
        lua::lua_setfield(lua, module, name.as_ptr());
    }
    for (name, function) in INT64_METHODS {
        push_closure(lua, module, function);
        lua::lua_setfield(lua, module + INT64_MT, name.as_ptr());
    }
    lua::push_function(lua, handle::finalize, 0);
    lua::lua_setfield(lua, module + HANDLE_MT, c"__gc".as_ptr());
    lua::push_bytes(lua, b"stillpoint_core.connection");
    lua::lua_setfield(lua, module + HANDLE_MT, c"__name".as_ptr());
    lua::lua_pushlightuserdata(lua, std::ptr::null_mut());
    lua::lua_setfield(lua, module, c"null".as_ptr());
    lua::push_bytes(lua, env!("CARGO_PKG_VERSION").as_bytes());
    lua::lua_setfield(lua, module, c"version".as_ptr());
    lua::push_bytes(lua, crate::LUA_VERSION.as_bytes());
    lua::lua_setfield(lua, module, c"lua_version".as_ptr());
    lua::lua_settop(lua, module);
    1
}

/// Pushes what all functions have as upvalues, in their order.
unsafe fn push_upvalues(lua: *mut lua_State) {
    let base = lua::lua_gettop(lua);
    let context = lua::new_userdata(lua, size_of::<Context>()).cast::<Context>();
    // Userdata are aligned for any C type, and this holds nothing wider than a pointer.
    context.write(Context::default());
    lua::lua_createtable(lua, 0, 1);
    lua::push_function(lua, free_context, 0);
    lua::lua_setfield(lua, -2, c"__gc".as_ptr());
    lua::lua_setmetatable(lua, -2);
    for upvalue in [ARRAY_MT, MAP_MT, EXT_MT, INT64_MT, ERROR_MT, HANDLE_MT] {
        lua::lua_createtable(lua, 0, 8);
        debug_assert_eq!(lua::lua_gettop(lua), base + upvalue);
    }
    #[cfg(feature = "luajit")]
    stillpoint_value::int64::cdata::push_shim(lua);
    #[cfg(not(feature = "luajit"))]
    for _ in 0..2 {
        lua::lua_pushnil(lua);
    }
    (*context).marks = Marks::at(lua, base);
    (*context).handle = lua::lua_topointer(lua, base + HANDLE_MT);
    for upvalue in CONTEXT..=CDATA_MAKE {
        lua::lua_pushvalue(lua, base + upvalue);
    }
    lua::push_function(lua, entry::pusher, CDATA_MAKE);
}

/// Pushes a function with the upvalues that lie above `module`.
unsafe fn push_closure(lua: *mut lua_State, module: c_int, function: lua::lua_CFunction) {
    for upvalue in CONTEXT..=PUSHER {
        lua::lua_pushvalue(lua, module + upvalue);
    }
    lua::push_function(lua, function, PUSHER);
}

/// `__gc` of the context: gives its memory back. A finalizer that runs later may still call, so it stays usable.
unsafe extern "C-unwind" fn free_context(lua: *mut lua_State) -> c_int {
    let context = lua::lua_touserdata(lua, 1).cast::<Context>();
    drop((*context).take_buffer());
    0
}

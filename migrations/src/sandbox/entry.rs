//! The C functions through which Rust gets into the state: they raise, so they run in protected calls only.

use std::os::raw::c_int;

use stillpoint_value::{
    decode::{Malformed, decode},
    lua::{self, lua_State},
    marks::{INT64_MT, Marks},
};

use super::{BEGIN, FUNCTIONS_PER_SCRIPT, environment, values};

/// What is to be pushed by [`begin`], and what was wrong with it.
pub(super) struct Beginning {
    pub(super) value: *const [u8],
    pub(super) key: *const [u8],
    pub(super) malformed: Option<Malformed>,
}

/// What [`build`] is told and tells.
pub(super) struct Building {
    pub(super) scripts: c_int,
    pub(super) marks: Marks,
}

/// Builds what lies at the bottom of the stack. Its argument is a [`Building`].
pub(super) unsafe extern "C-unwind" fn build(lua: *mut lua_State) -> c_int {
    let building = lua::lua_touserdata(lua, 1).cast::<Building>();
    let base = environment::push_marks(lua);
    (*building).marks = Marks::at(lua, base);
    // The places are there from the beginning, so that filling them does not raise.
    let places = i64::from((*building).scripts) * FUNCTIONS_PER_SCRIPT;
    lua::lua_createtable(lua, c_int::try_from(places).unwrap_or(c_int::MAX), 0);
    environment::push(lua, base);
    lua::lua_pushnil(lua);
    values::push_function(lua, base, begin);
    debug_assert_eq!(lua::lua_gettop(lua), base + INT64_MT + BEGIN);
    BEGIN
}

/// Pushes a document and its key. Its argument is a [`Beginning`].
pub(super) unsafe extern "C-unwind" fn begin(lua: *mut lua_State) -> c_int {
    let beginning = lua::lua_touserdata(lua, 1).cast::<Beginning>();
    match decode(lua, &*(*beginning).value) {
        Ok(()) => {}
        Err(malformed) => {
            (*beginning).malformed = Some(malformed);
            return 0;
        }
    }
    lua::push_bytes(lua, &*(*beginning).key);
    2
}

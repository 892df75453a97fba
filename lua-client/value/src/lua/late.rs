//! The functions that not every Lua version has, bound when the module is opened.
//!
//! If the shared object named them as undefined symbols, the dynamic linker would refuse it under another Lua with
//! "undefined symbol", before it could say what is wrong. So a module build looks them up by name, after
//! the core's `version` has found that this is the right Lua. Everything else that is called exists in all of them.
//! With Lua built in there is nothing to look up.

#[cfg(feature = "luajit")]
use std::os::raw::c_char;
use std::os::raw::{c_int, c_void};

#[cfg(feature = "lua52")]
use mlua::ffi::lua_CFunction;
#[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
use mlua::ffi::lua_Integer;
use mlua::ffi::{lua_Number, lua_State};

/// Declares functions by the symbol they have in this Lua, which depends on the version.
macro_rules! late_functions {
    ($(
        #[doc = $doc:literal]
        $(#[cfg($($versions:tt)*)])?
        fn $name:ident = $symbol:literal($($arg:ident: $type:ty),*) $(-> $result:ty)?;
    )*) => {
        $(
            #[doc = $doc]
            $(#[cfg($($versions)*)])?
            #[inline(always)]
            pub unsafe fn $name($($arg: $type),*) $(-> $result)? {
                #[cfg(feature = "module")]
                {
                    type Function = unsafe extern "C-unwind" fn($($type),*) $(-> $result)?;
                    let address = addresses::$name.load(std::sync::atomic::Ordering::Relaxed);
                    // SAFETY: `resolve` found the symbol in the Lua of this very version, where it has this signature;
                    // the module has no entry that can be called before it.
                    unsafe { std::mem::transmute::<*mut c_void, Function>(address)($($arg),*) }
                }
                #[cfg(not(feature = "module"))]
                {
                    unsafe extern "C-unwind" {
                        #[link_name = $symbol]
                        fn function($($arg: $type),*) $(-> $result)?;
                    }
                    // SAFETY: the built-in Lua has it with this signature.
                    unsafe { function($($arg),*) }
                }
            }
        )*

        /// Where the functions are.
        #[cfg(feature = "module")]
        #[allow(non_upper_case_globals)]
        mod addresses {
            use std::{os::raw::c_void, ptr::null_mut, sync::atomic::AtomicPtr};
            $(
                $(#[cfg($($versions)*)])?
                pub(super) static $name: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
            )*
        }

        /// Looks up all of them; names the first that is missing.
        #[cfg(feature = "module")]
        pub fn resolve() -> Result<(), &'static str> {
            $(
                $(#[cfg($($versions)*)])?
                {
                    let address = symbol(concat!($symbol, "\0")).ok_or($symbol)?;
                    addresses::$name.store(address, std::sync::atomic::Ordering::Relaxed);
                }
            )*
            Ok(())
        }
    };
}

late_functions! {
    /// Quiet.
    #[cfg(any(feature = "lua51", feature = "luajit"))]
    fn tonumber = "lua_tonumber"(lua: *mut lua_State, index: c_int) -> lua_Number;
    /// Quiet.
    #[cfg(not(any(feature = "lua51", feature = "luajit")))]
    fn tonumber = "lua_tonumberx"(lua: *mut lua_State, index: c_int, is_number: *mut c_int) -> lua_Number;
    /// Quiet.
    #[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
    fn isinteger = "lua_isinteger"(lua: *mut lua_State, index: c_int) -> c_int;
    /// Quiet.
    #[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
    fn tointeger = "lua_tointegerx"(lua: *mut lua_State, index: c_int, is_number: *mut c_int) -> lua_Integer;
    /// Quiet.
    #[cfg(any(feature = "lua51", feature = "luajit"))]
    fn rawlen = "lua_objlen"(lua: *mut lua_State, index: c_int) -> usize;
    /// Quiet.
    #[cfg(any(feature = "lua52", feature = "lua53"))]
    fn rawlen = "lua_rawlen"(lua: *mut lua_State, index: c_int) -> usize;
    /// Quiet.
    #[cfg(any(feature = "lua54", feature = "lua55"))]
    fn rawlen = "lua_rawlen"(lua: *mut lua_State, index: c_int) -> u64;
    /// Catches every error.
    #[cfg(any(feature = "lua51", feature = "luajit"))]
    fn pcall = "lua_pcall"(lua: *mut lua_State, args: c_int, results: c_int, handler: c_int) -> c_int;
    /// Catches every error.
    #[cfg(feature = "lua52")]
    fn pcall = "lua_pcallk"(
        lua: *mut lua_State, args: c_int, results: c_int, handler: c_int, context: c_int, next: Option<lua_CFunction>
    ) -> c_int;
    /// Catches every error.
    #[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
    fn pcall = "lua_pcallk"(
        lua: *mut lua_State, args: c_int, results: c_int, handler: c_int, context: isize,
        next: Option<mlua::ffi::lua_KFunction>
    ) -> c_int;
    /// Raising.
    #[cfg(not(any(feature = "lua54", feature = "lua55")))]
    fn newuserdata = "lua_newuserdata"(lua: *mut lua_State, bytes: usize) -> *mut c_void;
    /// Raising.
    #[cfg(any(feature = "lua54", feature = "lua55"))]
    fn newuserdata = "lua_newuserdatauv"(lua: *mut lua_State, bytes: usize, values: c_int) -> *mut c_void;
    /// Raises if this is another Lua, or one with other numbers.
    #[cfg(feature = "lua52")]
    fn checkversion = "luaL_checkversion_"(lua: *mut lua_State, version: lua_Number);
    /// Raises if this is another Lua, or one with other numbers.
    #[cfg(any(feature = "lua53", feature = "lua54", feature = "lua55"))]
    fn checkversion = "luaL_checkversion_"(lua: *mut lua_State, version: lua_Number, sizes: usize);
    /// Catches every error.
    #[cfg(feature = "luajit")]
    fn loadbuffer = "luaL_loadbuffer"(
        lua: *mut lua_State, code: *const c_char, bytes: usize, name: *const c_char
    ) -> c_int;
}

/// The address of a symbol (its name ends with a NUL) in the running program.
#[cfg(feature = "module")]
pub fn symbol(name: &'static str) -> Option<*mut c_void> {
    debug_assert!(name.ends_with('\0'));
    // SAFETY: the name is NUL-terminated; RTLD_DEFAULT needs no handle.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr().cast()) };
    (!address.is_null()).then_some(address)
}

//! What the tests share.
//!
//! # Layout
//!
//! - [`lua_modules`]: the Lua module as it ships, for every Lua version, and the interpreters that load it.
//! - [`lua_process`]: a Lua process that says what it sees, and does what it is told.
//! - [`server`]: the built program, and a real server for a test.
//! - [`bucket`]: a bucket for its backups.
//! - [`raw`]: the contract without our client.
//! - [`op`]: operations and values as the tests write them.
//! - [`linearizability`]: whether answers can be explained by one thing used by one caller at a time.

pub mod bucket;
pub mod linearizability;
pub mod lua_modules;
pub mod lua_process;
pub mod op;
pub mod raw;
pub mod server;

/// Makes functions tests, one for every Lua: they are named by a module beside this and their name, and are given a
/// [`LuaVersion`](lua_modules::LuaVersion).
#[macro_export]
macro_rules! under_every_lua {
    ($($module:ident :: $test:ident)*) => {
        $(
            mod $test {
                use super::$module;
                use $crate::lua_modules::LuaVersion;
                #[test]
                fn lua51() {
                    $module::$test(LuaVersion::Lua51);
                }
                #[test]
                fn lua52() {
                    $module::$test(LuaVersion::Lua52);
                }
                #[test]
                fn lua53() {
                    $module::$test(LuaVersion::Lua53);
                }
                #[test]
                fn lua54() {
                    $module::$test(LuaVersion::Lua54);
                }
                #[test]
                fn lua55() {
                    $module::$test(LuaVersion::Lua55);
                }
                #[test]
                fn luajit() {
                    $module::$test(LuaVersion::LuaJit);
                }
            }
        )*
    };
}

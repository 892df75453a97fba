//! The table of bad input, with the exact error for each, under every interpreter: `tests/lua/bad_input.lua`.

use stillpoint_tests::{lua_modules::LuaVersion, server::Setup};

macro_rules! under {
    ($($name:ident $version:ident),*) => {
        mod every_kind_of_bad_input_has_its_exact_error {
            use super::{LuaVersion, refused};
            $(
                #[test]
                fn $name() {
                    refused(LuaVersion::$version);
                }
            )*
        }
    };
}

under! { lua51 Lua51, lua52 Lua52, lua53 Lua53, lua54 Lua54, lua55 Lua55, luajit LuaJit }

fn refused(version: LuaVersion) {
    let setup = Setup::new()
        .flag("--collection=player")
        .flag("--declared-only");
    let server = setup.start();
    version.run(
        "tests/lua/bad_input.lua",
        &[("STILLPOINT_SPEC_URL", &server.url())],
    );
}

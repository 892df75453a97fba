//! The native module under every interpreter, as it ships: its codec, its verbs, and a module of the wrong version.

use stillpoint_tests::{lua_modules::LuaVersion, server::Server};

/// One test per spec and Lua version.
macro_rules! specs {
    ($($spec:ident)*) => {
        $(
            mod $spec {
                use super::LuaVersion;
                specs!(@under $spec lua51 Lua51, lua52 Lua52, lua53 Lua53, lua54 Lua54, lua55 Lua55, luajit LuaJit);
            }
        )*
    };
    (@under $spec:ident $($name:ident $version:ident),*) => {
        $(
            #[test]
            fn $name() {
                super::$spec(LuaVersion::$version);
            }
        )*
    };
}

specs! {
    codec_spec
    core_spec
}

fn codec_spec(version: LuaVersion) {
    version.run("tests/lua/codec_spec.lua", &[]);
}

fn core_spec(version: LuaVersion) {
    let server = Server::start();
    let url = server.url();
    version.run("tests/lua/core_spec.lua", &[("STILLPOINT_SPEC_URL", &url)]);
}

#[test]
fn a_module_of_another_lua_version_says_so_instead_of_crashing() {
    let script = "local ok, why = pcall(require, 'stillpoint_core') io.write(tostring(why)) os.exit(ok and 1 or 0)";
    let file = tempfile::Builder::new().suffix(".lua").tempfile().unwrap();
    std::fs::write(file.path(), script).unwrap();
    for running in LuaVersion::ALL {
        for module in LuaVersion::ALL {
            if running == module {
                continue;
            }
            let Some(mut command) = running.command_with_module_of(module) else {
                continue;
            };
            let output = command.arg(file.path()).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            let expected = format!(
                "stillpoint_core was built for {module}, this is {running}: \
                 put the module built for {running} first in package.cpath",
                module = module.name(),
                running = running.name()
            );
            assert_eq!(
                (output.status.code(), said.as_ref()),
                (Some(0), expected.as_str()),
                "the module of {} under {}",
                module.name(),
                running.name()
            );
        }
    }
}

//! The specs of the Lua client under every interpreter, on `stillpoint.memory()` and on a real server, and those of the
//! reload kit.

use std::ffi::OsString;

use stillpoint_tests::{lua_modules::LuaVersion, server::Server};

/// One test per spec, Lua version and store.
macro_rules! specs {
    ($store:ident: $($spec:ident)*) => {
        mod $store {
            $(
                mod $spec {
                    use super::super::{LuaVersion, $store};
                    specs!(@under $store $spec lua51 Lua51, lua52 Lua52, lua53 Lua53, lua54 Lua54, lua55 Lua55,
                        luajit LuaJit);
                }
            )*
        }
    };
    (@under $store:ident $spec:ident $($name:ident $version:ident),*) => {
        $(
            #[test]
            fn $name() {
                $store(stringify!($spec), LuaVersion::$version);
            }
        )*
    };
}

specs! { on_memory:
async_spec claim_spec collection_spec command_spec fleet_spec history_spec memory_spec misuse_spec once_spec patch_spec schema_spec
session_spec timer_spec txn_spec value_spec watch_spec }

specs! { on_server:
async_spec claim_spec collection_spec driver_spec history_spec misuse_spec once_spec patch_spec schema_spec session_spec timer_spec
txn_spec value_spec watch_spec }

// The reload kit needs neither the core nor a store.
specs! { on_its_own:
reload_audit_spec reload_class_spec reload_failure_spec reload_game_spec reload_once_spec reload_override_spec
reload_points_spec reload_resource_spec reload_spec reload_steps_spec reload_table_spec reload_thousand_spec reload_watch_spec }

fn on_its_own(spec: &str, version: LuaVersion) {
    run(spec, version, None);
}

fn on_memory(spec: &str, version: LuaVersion) {
    run(spec, version, None);
}

fn on_server(spec: &str, version: LuaVersion) {
    run(spec, version, Some(&Server::start()));
}

/// Runs a spec, which must pass. The event loops' own modules may be found, too.
fn run(spec: &str, version: LuaVersion, server: Option<&Server>) {
    let Some(mut command) = version.command() else {
        return;
    };
    let paths: Vec<(OsString, OsString)> = command
        .get_envs()
        .filter(|(name, _)| *name == "LUA_PATH" || *name == "LUA_CPATH")
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    for (name, mut value) in paths {
        value.push(";;");
        command.env(name, value);
    }
    command.env_remove("STILLPOINT_SPEC_URL");
    if let Some(server) = server {
        command.env("STILLPOINT_SPEC_URL", server.url());
    }
    let output = command
        .arg(format!("tests/lua/{spec}.lua"))
        .output()
        .expect("the interpreter runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{spec} failed under {} ({}):\n{said}{}",
        version.name(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    println!("{said}");
}

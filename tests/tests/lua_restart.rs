//! A stock interpreter with the module as it ships lives through the death of its store. (The built-in Lua would not
//! show this: a Rust program ignores SIGPIPE from the start.)

use std::{
    io::{BufRead, BufReader, Write},
    process::Stdio,
};

use stillpoint_tests::{
    lua_modules::{LuaVersion, root},
    server::Setup,
};

macro_rules! under {
    ($($name:ident $version:ident),*) => {
        mod the_death_of_the_store_is_a_pause_or_an_error_and_never_the_end_of_the_process {
            use super::{LuaVersion, outlives_server};
            $(
                #[test]
                fn $name() {
                    outlives_server(LuaVersion::$version);
                }
            )*
        }
    };
}

under! { lua51 Lua51, lua52 Lua52, lua53 Lua53, lua54 Lua54, lua55 Lua55, luajit LuaJit }

fn outlives_server(version: LuaVersion) {
    let Some(mut command) = version.command() else {
        return;
    };
    let setup = Setup::new();
    let server = setup.start();
    let mut process = command
        .arg(root().join("tests/lua/outlives_server.lua"))
        .env("STILLPOINT_SPEC_URL", server.url())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the interpreter starts");
    let mut stdin = process.stdin.take().expect("it has a stdin");
    let mut lines = BufReader::new(process.stdout.take().expect("it has a stdout")).lines();
    let mut says = || lines.next().transpose().expect("it can be read");
    let mut go_on = || stdin.write_all(b"\n").expect("it lives");

    assert_eq!(says().as_deref(), Some("1"));
    server.kill();
    go_on();
    assert_eq!(says().as_deref(), Some("deadline_exceeded"));
    let server = setup.start();
    go_on();
    assert_eq!(says().as_deref(), Some("2"));
    server.kill();
    let _server = setup.start();
    go_on();
    assert_eq!(says().as_deref(), Some("3"));
    go_on();
    assert_eq!(says(), None);
    let status = process.wait().expect("it is our child");
    assert!(status.success(), "{status}");
}

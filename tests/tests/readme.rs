//! The README is true: its first script prints what its comments say.

use std::{fs, process::Command};

use stillpoint_tests::{
    lua_modules::root,
    server::{Server, program},
};

/// The code block that is introduced by a line with this text.
fn block<'a>(readme: &'a str, introduced_by: &str) -> &'a str {
    let after = readme
        .split_once(introduced_by)
        .expect("the README has it")
        .1;
    let code = after
        .split_once("```lua\n")
        .expect("a code block follows")
        .1;
    code.split_once("```").expect("it ends").0
}

/// What the comments `--> ...` promise, in order; a comma stands for a new line.
fn promised(script: &str) -> Vec<String> {
    let comments = script
        .lines()
        .filter_map(|line| Some(line.split_once("-->")?.1));
    let lines = comments.flat_map(|comment| comment.split(','));
    lines.map(|line| line.trim().to_owned()).collect()
}

#[test]
fn the_first_script_prints_what_its_comments_say() {
    let readme = fs::read_to_string(root().join("README.md")).expect("there is a README");
    let script = block(&readme, "save this as `first.lua`");
    let server = Server::start();
    let file = server.directory().join("first.lua");
    fs::write(&file, script).expect("written");
    let output = Command::new(program())
        .arg("lua")
        .arg(&file)
        .env("STILLPOINT_URL", server.url())
        .output()
        .expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let printed = String::from_utf8_lossy(&output.stdout).replace('\t', " ");
    assert_eq!(printed.lines().collect::<Vec<_>>(), promised(script));
}

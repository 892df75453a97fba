//! The README is true: its first script prints what its comments say, and its shop is reloaded as it says.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

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

#[test]
fn the_shop_is_reloaded_in_all_its_processes_and_back() {
    let readme = fs::read_to_string(root().join("README.md")).expect("there is a README");
    let server = Server::start();
    let path = |name: &str| server.directory().join(name);
    let price = block(&readme, "Save this as `price.lua`");
    fs::write(path("price.lua"), price).expect("written");
    // Into a pipe Lua would write only when it has many lines.
    let shop = block(&readme, "and this as `shop.lua`");
    fs::write(
        path("shop.lua"),
        format!("io.stdout:setvbuf 'line'\n{shop}"),
    )
    .expect("written");
    let admin = format!("unix:{}", path("admin.sock").display());
    let mut shops = Vec::new();
    for name in ["shop-1", "shop-2"] {
        shops.push(Shop::start(&server, &path("shop.lua"), name));
    }
    for shop in &mut shops {
        shop.hears("is 10 gold, asked 1 times");
    }
    let ask = |what: &str| {
        let output = Command::new(program())
            .args(["reload", what, "--service", "shop", "--namespace", "world1"])
            .env("STILLPOINT_ADMIN", &admin)
            .output()
            .expect("it runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{what}: {errors}");
    };
    let new = price.replace("10 gold", "9 gold");
    fs::write(path("price.new"), new).expect("written");
    fs::rename(path("price.new"), path("price.lua")).expect("renamed");
    ask("plan");
    ask("apply");
    for shop in &mut shops {
        shop.hears("is 9 gold, asked");
    }
    ask("status");
    ask("rollback");
    for shop in &mut shops {
        shop.hears("is 10 gold, asked");
    }
}

/// A process of the README's shop.
struct Shop {
    process: Child,
    said: BufReader<ChildStdout>,
}

impl Shop {
    fn start(server: &Server, script: &Path, name: &str) -> Shop {
        let mut process = Command::new(program())
            .arg("lua")
            .arg(script)
            .arg(name)
            .env("STILLPOINT_URL", server.url())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let said = BufReader::new(process.stdout.take().expect("piped"));
        Shop { process, said }
    }

    /// Reads what it says up to a line with this text; it asks its price once a second.
    fn hears(&mut self, text: &str) {
        let mut lines = 0;
        loop {
            let mut line = String::new();
            let read = self.said.read_line(&mut line).expect("it says something");
            if line.contains(text) {
                return;
            }
            lines += 1;
            assert!(
                read > 0 && lines < 60,
                "{text:?} was never said, but {line:?}"
            );
        }
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

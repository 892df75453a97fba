//! How the shared object is linked, and which Lua files are built in.

use std::{
    env,
    error::Error,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_MODULE").is_some() {
        link_module(&env::var("CARGO_CFG_TARGET_OS")?);
    }
    if env::var_os("CARGO_FEATURE_VENDORED").is_some() {
        // The example that loads the real module shows it its Lua.
        println!("cargo:rustc-link-arg-examples=-rdynamic");
        embed_lua_files()?;
    }
    Ok(())
}

/// The interpreter that loads the module has Lua's functions.
fn link_module(target_os: &str) {
    match target_os {
        "macos" => {
            println!("cargo:rustc-cdylib-link-arg=-undefined");
            println!("cargo:rustc-cdylib-link-arg=dynamic_lookup");
        }
        // `lua_close` unmaps modules, but the connection's thread may still run in this one.
        "linux" => println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete"),
        _ => {}
    }
}

/// Lists the client's Lua files as `LUA_FILES`: module name, chunk name, text.
fn embed_lua_files() -> Result<(), Box<dyn Error>> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../lua");
    println!("cargo:rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect_lua_files(&root, &mut files)?;
    files.sort();
    let mut list = String::from("/// The client's Lua files.\nconst LUA_FILES: &[LuaFile] = &[\n");
    for file in files {
        let relative = file.strip_prefix(&root)?.with_extension("");
        let module = relative
            .to_str()
            .ok_or("a file name is not UTF-8")?
            .replace('/', ".");
        let module = module.strip_suffix(".init").unwrap_or(&module);
        let chunk = format!("@{}.lua", relative.display());
        writeln!(
            list,
            "    ({module:?}, {chunk:?}, include_str!({:?})),",
            file.canonicalize()?
        )?;
    }
    list.push_str("];\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("lua_files.rs"), list)?;
    Ok(())
}

fn collect_lua_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect_lua_files(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "lua") {
            files.push(path);
        }
    }
    Ok(())
}

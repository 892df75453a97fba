//! Runs a script in the built-in Lua, as the stock `lua` program would, with the client preloaded.

use std::{
    ffi::CString,
    os::raw::{c_char, c_int, c_void},
    path::Path,
    ptr::null_mut,
    sync::atomic::{AtomicPtr, Ordering},
};

use mlua::ffi as sys;

use crate::lua::{self, lua_State};

/// A Lua file of the client: the module's name, the file's, its text.
type LuaFile = (&'static str, &'static str, &'static str);

// `LUA_FILES`: all files of `lua-client/lua`.
include!(concat!(env!("OUT_DIR"), "/lua_files.rs"));

/// Runs the script (`-`: standard input) with `arg` and `...` set as the stock `lua` program does, and with the script's
/// folder first in `package.path`. Ctrl-C raises an error in the script; a second one ends the program.
///
/// # Errors
///
/// What the script raised, with its traceback. A script that calls `os.exit` does not come back.
pub fn run_script(script: &Path, args: &[String]) -> Result<(), String> {
    run_file(script, args, true)
}

/// Runs a script in the same way, but without the client preloaded: as an interpreter that the module can be tried in.
///
/// # Errors
///
/// What the script raised, with its traceback.
pub fn run_script_bare(script: &Path, args: &[String]) -> Result<(), String> {
    run_file(script, args, false)
}

/// Runs a script as [`run_script`] does, and watches over it: modules whose files change are reloaded in place, and the
/// script is run again in a fresh state when it has changed itself, or has ended and one of its files changes. Comes back
/// only when that is interrupted.
///
/// # Errors
///
/// What it was interrupted by.
pub fn watch_script(script: &Path, args: &[String]) -> Result<(), String> {
    let name = c_string(&script.display().to_string())?;
    let job = Job {
        source: Source::Code(c_string(
            "require('stillpoint.reload.dev').run(arg[0], ...)",
        )?),
        package_path: Some(package_path_of(script)?),
        name,
        preloads: true,
        args: c_strings(args)?,
    };
    loop {
        run(&job)?;
    }
}

fn run_file(script: &Path, args: &[String], preloads: bool) -> Result<(), String> {
    let name = c_string(&script.display().to_string())?;
    let package_path = Some(package_path_of(script)?);
    let source = if name.as_bytes() == b"-" {
        Source::StandardInput
    } else {
        Source::File
    };
    run(&Job {
        source,
        name,
        package_path,
        preloads,
        args: c_strings(args)?,
    })
}

/// What finds modules in the script's folder.
fn package_path_of(script: &Path) -> Result<CString, String> {
    let folder = match script.parent() {
        Some(folder) if folder.as_os_str().is_empty() => "./".to_owned(),
        Some(folder) => format!("{}/", folder.display()),
        None => "./".to_owned(),
    };
    c_string(&format!("{folder}?.lua;{folder}?/init.lua;"))
}

/// Runs a piece of Lua code in the same way, as for `lua -e CODE`.
///
/// # Errors
///
/// What the code raised, with its traceback.
pub fn run_chunk(code: &str, args: &[String]) -> Result<(), String> {
    let source = Source::Code(c_string(code)?);
    run(&Job {
        source,
        name: c"stillpoint".into(),
        package_path: None,
        preloads: true,
        args: c_strings(args)?,
    })
}

/// What to run.
struct Job {
    source: Source,
    /// Goes to `arg[0]`; the file's path if it is one.
    name: CString,
    /// Goes before `package.path`.
    package_path: Option<CString>,
    /// The core and the client's Lua files go into `package.preload`.
    preloads: bool,
    args: Vec<CString>,
}

/// Where the code comes from.
enum Source {
    File,
    StandardInput,
    Code(CString),
}

fn run(job: &Job) -> Result<(), String> {
    // SAFETY: a fresh state, used by this thread only. Everything that may raise runs protected in `main`, which holds
    // nothing that needs dropping; the job outlives the call.
    unsafe {
        let lua = sys::luaL_newstate();
        if lua.is_null() {
            return Err("no memory for a Lua state".into());
        }
        lua::lua_pushcclosure(lua, main, 0);
        lua::lua_pushlightuserdata(lua, std::ptr::from_ref(job).cast_mut().cast::<c_void>());
        let status = lua::protected_call(lua, 1, 0);
        let outcome = if status == lua::LUA_OK {
            Ok(())
        } else if lua::lua_type(lua, -1) == lua::LUA_TSTRING {
            Err(String::from_utf8_lossy(lua::string_at(lua, -1)).into_owned())
        } else {
            Err("the script failed without a message".into())
        };
        interrupt::disarm();
        sys::lua_close(lua);
        outcome
    }
}

/// Sets everything up and runs the job, which is the argument; raises the script's error with its traceback.
unsafe extern "C-unwind" fn main(lua: *mut lua_State) -> c_int {
    let job = &*lua::lua_touserdata(lua, 1).cast::<Job>();
    sys::luaL_openlibs(lua);
    if job.preloads {
        preload(lua);
    }
    extend_package_path(lua, job);
    set_arg(lua, job);

    lua::lua_settop(lua, 0);
    lua::lua_pushcclosure(lua, with_traceback, 0);
    if load(lua, job) != lua::LUA_OK {
        lua::lua_error(lua)
    }
    let count = job.args.len() as c_int;
    if lua::lua_checkstack(lua, count + lua::MIN_STACK) == 0 {
        sys::luaL_error(lua, c"too many arguments to the script".as_ptr());
    }
    for arg in &job.args {
        lua::push_bytes(lua, arg.as_bytes());
    }
    interrupt::arm(lua);
    if sys::lua_pcall(lua, count, 0, 1) != lua::LUA_OK {
        lua::lua_error(lua)
    }
    0
}

/// Pushes the job's code as a function, or what is wrong with it.
unsafe fn load(lua: *mut lua_State, job: &Job) -> c_int {
    match &job.source {
        Source::File => load_file(lua, job.name.as_ptr()),
        Source::StandardInput => load_file(lua, std::ptr::null()),
        Source::Code(code) => load_text(lua, code.as_bytes(), c"=(command line)".as_ptr()),
    }
}

/// Loads a file, or standard input without a name.
unsafe fn load_file(lua: *mut lua_State, name: *const c_char) -> c_int {
    #[cfg(any(feature = "lua51", feature = "luajit"))]
    return sys::luaL_loadfile(lua, name);
    #[cfg(not(any(feature = "lua51", feature = "luajit")))]
    return sys::luaL_loadfilex(lua, name, std::ptr::null());
}

unsafe fn load_text(lua: *mut lua_State, text: &[u8], name: *const c_char) -> c_int {
    sys::luaL_loadbufferx(
        lua,
        text.as_ptr().cast(),
        text.len(),
        name,
        std::ptr::null(),
    )
}

/// Puts the core and the client's Lua files into `package.preload`; they are compiled when they are required.
unsafe fn preload(lua: *mut lua_State) {
    sys::lua_getglobal(lua, c"package".as_ptr());
    sys::lua_getfield(lua, -1, c"preload".as_ptr());
    lua::lua_pushcclosure(lua, crate::luaopen_stillpoint_core, 0);
    lua::lua_setfield(lua, -2, c"stillpoint_core".as_ptr());
    for (i, (module, _, _)) in LUA_FILES.iter().enumerate() {
        lua::push_bytes(lua, module.as_bytes());
        lua::push_integer(lua, i as i64);
        lua::lua_pushcclosure(lua, load_embedded, 1);
        lua::lua_rawset(lua, -3);
    }
}

/// Loader of an embedded file, whose number is the upvalue: compiles it and calls it with the module's name.
unsafe extern "C-unwind" fn load_embedded(lua: *mut lua_State) -> c_int {
    let lua::Number::Integer(i) = lua::number_at(lua, lua::lua_upvalueindex(1)) else {
        return 0;
    };
    let Some((_, file, text)) = LUA_FILES.get(i as usize) else {
        return 0;
    };
    lua::lua_settop(lua, 1);
    // Lua copies the name only when it has compiled the text, so it is kept on the stack.
    lua::push_bytes(lua, file.as_bytes());
    let name = sys::lua_tolstring(lua, -1, null_mut());
    if load_text(lua, text.as_bytes(), name) != lua::LUA_OK {
        lua::lua_error(lua)
    }
    lua::lua_pushvalue(lua, 1);
    sys::lua_call(lua, 1, 1);
    1
}

/// Puts the script's folder first into `package.path`.
unsafe fn extend_package_path(lua: *mut lua_State, job: &Job) {
    let Some(prefix) = &job.package_path else {
        return;
    };

    sys::lua_getglobal(lua, c"package".as_ptr());
    lua::push_bytes(lua, prefix.as_bytes());
    sys::lua_getfield(lua, -2, c"path".as_ptr());
    sys::lua_concat(lua, 2);
    lua::lua_setfield(lua, -2, c"path".as_ptr());
}

/// Sets the global `arg`.
unsafe fn set_arg(lua: *mut lua_State, job: &Job) {
    lua::lua_createtable(lua, job.args.len() as c_int, 1);
    for (i, arg) in std::iter::once(&job.name).chain(&job.args).enumerate() {
        lua::push_bytes(lua, arg.as_bytes());
        lua::raw_set_index(lua, -2, i as i64);
    }
    sys::lua_setglobal(lua, c"arg".as_ptr());
}

/// Message handler: adds the traceback, as the stock `lua` program does.
unsafe extern "C-unwind" fn with_traceback(lua: *mut lua_State) -> c_int {
    // An error object says itself what it is; else its type is all there is.
    let text = sys::luaL_tolstring(lua, 1, null_mut());
    sys::luaL_traceback(lua, lua, text, 1);
    1
}

fn c_string(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| format!("{text:?} has a NUL byte in it"))
}

fn c_strings(texts: &[String]) -> Result<Vec<CString>, String> {
    texts.iter().map(|text| c_string(text)).collect()
}

/// Ctrl-C stops the script.
mod interrupt {
    use super::{AtomicPtr, Ordering, c_int, null_mut, sys};

    /// The state that an interrupt stops.
    static RUNNING: AtomicPtr<sys::lua_State> = AtomicPtr::new(null_mut());

    /// From here on an interrupt raises an error in the script.
    pub(super) fn arm(lua: *mut sys::lua_State) {
        RUNNING.store(lua, Ordering::Release);
        set_action(on_interrupt as *const () as libc::sighandler_t);
    }

    /// From here on an interrupt ends the program.
    pub(super) fn disarm() {
        set_action(libc::SIG_DFL);
        RUNNING.store(null_mut(), Ordering::Release);
    }

    fn set_action(handler: libc::sighandler_t) {
        // SAFETY: the handler does only what a signal handler may.
        unsafe { libc::signal(libc::SIGINT, handler) };
    }

    /// Asks Lua to call `stop` before its next instruction. A script that waits within the core is not reached that way,
    /// so it ends with the program; the same goes for the second interrupt.
    extern "C" fn on_interrupt(signal: c_int) {
        set_action(libc::SIG_DFL);
        let lua = RUNNING.load(Ordering::Acquire);
        if crate::entry::in_verb() {
            // SAFETY: a signal handler may do this.
            unsafe { libc::raise(signal) };
        } else if !lua.is_null() {
            let events = sys::LUA_MASKCALL | sys::LUA_MASKRET | sys::LUA_MASKCOUNT;
            // SAFETY: Lua allows this call, and only this, from a signal handler.
            unsafe { sys::lua_sethook(lua, Some(stop), events, 1) };
        }
    }

    unsafe extern "C-unwind" fn stop(lua: *mut sys::lua_State, _: *mut sys::lua_Debug) {
        sys::lua_sethook(lua, None, 0, 0);
        sys::luaL_error(lua, c"interrupted".as_ptr());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_sees_the_core_and_its_arguments() {
        let args = ["a".to_owned(), "b".to_owned()];
        let code = r#"
            local core = require "stillpoint_core"
            assert(core.decode(core.encode { x = 1 }).x == 1)
            assert(arg[1] == "a" and select('#', ...) == 2 and select(2, ...) == "b")
        "#;
        assert_eq!(run_chunk(code, &args), Ok(()));
    }

    #[test]
    fn a_failing_script_is_reported_with_its_traceback() {
        let error = run_chunk("local function f() error 'oh' end f()", &[]).unwrap_err();
        assert!(
            error.starts_with("(command line):1: oh\nstack traceback:"),
            "{error}"
        );
        let error = run_chunk("x = = 1", &[]).unwrap_err();
        assert!(error.starts_with("(command line):1: "), "{error}");
        let error = run_script(Path::new("no/such/file.lua"), &[]).unwrap_err();
        assert!(error.contains("no/such/file.lua"), "{error}");
    }
}

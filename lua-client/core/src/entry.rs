//! How Lua gets into Rust and its results back out: every function of the module is a *verb* run by [`enter`].
//!
//! ```text
//!  Lua ──▶ enter ──▶ verb            looks at its arguments, works, returns what is to be pushed   (quiet, panics caught)
//!                ──▶ pcall(pusher)   pushes it: strings, tables                        (may raise, holds nothing to drop)
//!                ──▶ drops the result, and only then returns, or raises what the pusher or a misuse raised
//! ```
//!
//! So no Lua error ever crosses a Rust frame that has something to drop, no panic crosses a Lua frame, and whatever a
//! finalizer does while results are pushed, the data they are pushed from is not touched.

use std::{
    any::Any,
    cell::Cell,
    os::raw::c_int,
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::{
    context::{Context, PUSHER},
    lua::{self, lua_State},
};

/// Something to push as a verb's results.
pub(crate) trait Push {
    /// Pushes the results and returns how many. It may raise, so it holds nothing that needs dropping, and it does not
    /// panic.
    unsafe fn push(&self, lua: *mut lua_State) -> c_int;

    /// Gives memory back once the results are pushed.
    fn recycle(self, _context: &mut Context)
    where
        Self: Sized,
    {
    }
}

/// Why a verb has no results.
pub(crate) enum Fault {
    /// It needs this many stack slots above its arguments: it is run again when they are there.
    Stack(c_int),
    /// It was called wrongly; this is raised.
    Misuse(String),
}

/// One call of a verb.
pub(crate) struct Call {
    /// The Lua state that calls.
    pub(crate) lua: *mut lua_State,
    /// Number of arguments.
    pub(crate) args: c_int,
    /// Stack slots above the arguments that may be used.
    pub(crate) slots: c_int,
    context: *mut Context,
}

impl Call {
    /// What the core keeps for this Lua universe. Not to be held while Lua code may run.
    #[allow(clippy::mut_from_ref)]
    pub(crate) fn context(&self) -> &mut Context {
        // SAFETY: the context lives as long as the running function, and one thread at a time runs a Lua universe.
        unsafe { &mut *self.context }
    }
}

/// Text pushed as one string.
impl Push for String {
    unsafe fn push(&self, lua: *mut lua_State) -> c_int {
        lua::push_bytes(lua, self.as_bytes());
        1
    }
}

impl Push for &'static str {
    unsafe fn push(&self, lua: *mut lua_State) -> c_int {
        lua::push_bytes(lua, self.as_bytes());
        1
    }
}

/// The results, or nil and why not.
impl<P: Push, E: Push> Push for Result<P, E> {
    unsafe fn push(&self, lua: *mut lua_State) -> c_int {
        match self {
            Ok(results) => results.push(lua),
            Err(error) => {
                lua::lua_pushnil(lua);
                1 + error.push(lua)
            }
        }
    }

    fn recycle(self, context: &mut Context) {
        match self {
            Ok(results) => results.recycle(context),
            Err(error) => error.recycle(context),
        }
    }
}

/// Nothing.
impl Push for () {
    unsafe fn push(&self, _: *mut lua_State) -> c_int {
        0
    }
}

/// The results, or nil.
impl<P: Push> Push for Option<P> {
    unsafe fn push(&self, lua: *mut lua_State) -> c_int {
        match self {
            Some(results) => results.push(lua),
            None => {
                lua::lua_pushnil(lua);
                1
            }
        }
    }
}

impl Push for bool {
    unsafe fn push(&self, lua: *mut lua_State) -> c_int {
        lua::lua_pushboolean(lua, c_int::from(*self));
        1
    }
}

/// Runs a verb as the body of a C function.
///
/// # Safety
///
/// It is the last thing a C function does whose upvalues are those of [`context`](crate::context).
pub(crate) unsafe fn enter<P: Push + 'static>(
    lua: *mut lua_State,
    verb: impl Fn(&Call) -> Result<P, Fault>,
) -> c_int {
    let count = run(lua, verb);
    if count < 0 {
        lua::lua_error(lua)
    }
    count
}

/// Runs a verb and pushes its results; negative: the error object is on top of the stack.
unsafe fn run<P: Push + 'static>(
    lua: *mut lua_State,
    verb: impl Fn(&Call) -> Result<P, Fault>,
) -> c_int {
    let context = Context::of_running(lua);
    let args = lua::lua_gettop(lua);
    let mut slots = lua::MIN_STACK;
    loop {
        let call = Call {
            lua,
            args,
            slots,
            context,
        };
        // A finalizer may run a verb within this one.
        let before = IN_VERB.replace(true);
        let outcome = catch_unwind(AssertUnwindSafe(|| verb(&call)));
        IN_VERB.set(before);
        match outcome {
            Ok(Ok(results)) => return push(lua, context, results, args),
            Ok(Err(Fault::Misuse(message))) => {
                push(lua, context, message, args);
                return -1;
            }
            Ok(Err(Fault::Stack(needed))) => slots = needed,
            Err(payload) => {
                push(lua, context, panic_message(payload), args);
                return -1;
            }
        }
        // Nothing is held here, so this may raise.
        lua::lua_settop(lua, args);
        if lua::lua_checkstack(lua, slots) == 0 {
            push(
                lua,
                context,
                String::from("the Lua stack is full: the calls are nested too deep"),
                args,
            );
            return -1;
        }
    }
}

/// Pushes results protected; negative: the error object is on top of the stack.
unsafe fn push<P: Push + 'static>(
    lua: *mut lua_State,
    context: *mut Context,
    results: P,
    args: c_int,
) -> c_int {
    lua::lua_settop(lua, args);
    // A debug hook may run a verb before the pusher has taken the job.
    let before = (*context).job.replace(&results as *const dyn Push);
    lua::lua_pushvalue(lua, lua::lua_upvalueindex(PUSHER));
    let status = lua::protected_call(lua, 0, lua::LUA_MULTRET);
    (*context).job = before;
    results.recycle(&mut *context);
    if status == lua::LUA_OK {
        lua::lua_gettop(lua) - args
    } else {
        -1
    }
}

/// The function behind [`PUSHER`].
pub(crate) unsafe extern "C-unwind" fn pusher(lua: *mut lua_State) -> c_int {
    match (*Context::of_running(lua)).job.take() {
        Some(job) => (*job).push(lua),
        None => 0,
    }
}

thread_local! {
    /// A verb runs on this thread, so a panic is caught and told to Lua.
    static IN_VERB: Cell<bool> = const { Cell::new(false) };
    /// Where the last panic of a verb was.
    static PANIC_PLACE: Cell<Option<String>> = const { Cell::new(None) };
}

/// Whether a verb runs on this thread.
#[cfg(feature = "vendored")]
pub(crate) fn in_verb() -> bool {
    IN_VERB.get()
}

/// Keeps panics of verbs off the host program's stderr; they are raised as Lua errors.
#[cfg(feature = "module")]
pub(crate) fn quiet_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if IN_VERB.get() {
                PANIC_PLACE.set(info.location().map(ToString::to_string));
            } else {
                others(info);
            }
        }));
    });
}

/// What a caught panic says.
fn panic_message(payload: Box<dyn Any + Send>) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown panic");
    let place = PANIC_PLACE.take().unwrap_or_default();
    format!("stillpoint_core has a bug, please report it: {text} {place}")
        .trim_end()
        .to_owned()
}

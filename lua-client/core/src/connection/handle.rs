//! The connection as a Lua value: a userdata with the metatable behind `HANDLE_MT`.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    os::raw::c_int,
    panic::{AssertUnwindSafe, catch_unwind},
};

use stillpoint_client::Client;

use crate::{
    codec::{Limits, NESTING_MAX},
    context::HANDLE_MT,
    entry::{Call, Push},
    lua::{self, lua_State},
    op::reader::{Reject, misuse},
};

/// A connection.
pub(crate) struct Handle {
    pub(crate) client: Client,
    /// The server's limits as they were last looked at: looking takes a lock.
    limits: Cell<Limits>,
    /// Operations submitted that ask for the owner of a record: their results look like those of any get.
    owners: RefCell<HashSet<u64>>,
}

impl Handle {
    pub(crate) fn new(client: Client) -> Self {
        let limits = Cell::new(limits_of(&client));
        Handle {
            client,
            limits,
            owners: RefCell::default(),
        }
    }

    /// Notes that an operation asks for an owner.
    pub(crate) fn note_owner(&self, id: u64) {
        self.owners.borrow_mut().insert(id);
    }

    /// Whether an operation, which is over, asked for an owner.
    pub(crate) fn was_owner(&self, id: u64) -> bool {
        let mut owners = self.owners.borrow_mut();
        !owners.is_empty() && owners.remove(&id)
    }

    /// What values are checked against. The server checks again.
    pub(crate) fn limits(&self) -> Limits {
        self.limits.get()
    }

    /// Looks at the server's limits again, which a restart may have changed; says whether it did.
    pub(crate) fn refresh_limits(&self) -> bool {
        let fresh = limits_of(&self.client);
        self.limits.replace(fresh) != fresh
    }
}

fn limits_of(client: &Client) -> Limits {
    let server = client.info().limits;
    let mut limits = Limits::default();
    // 0: the server has not said yet.
    if server.max_value_bytes > 0 {
        limits.bytes = usize::try_from(server.max_value_bytes).unwrap_or(usize::MAX);
    }
    if server.max_nesting > 0 {
        limits.nesting = (server.max_nesting as usize).min(NESTING_MAX);
    }
    limits
}

/// A handle, moved into a userdata when it is pushed.
pub(crate) struct NewHandle(pub(crate) Cell<Option<Handle>>);

impl Push for NewHandle {
    unsafe fn push(&self, lua: *mut lua_State) -> c_int {
        // The block is written before the metatable, with which the finalizer comes, is set.
        let block = lua::new_userdata(lua, size_of::<Option<Handle>>()).cast::<Option<Handle>>();
        block.write(self.0.take());
        lua::lua_pushvalue(lua, lua::lua_upvalueindex(HANDLE_MT));
        lua::lua_setmetatable(lua, -2);
        1
    }
}

/// The handle that is the argument `at`.
pub(crate) fn argument(call: &Call, at: c_int) -> Result<&Handle, Reject> {
    // SAFETY: only `NewHandle` makes userdata with this metatable. The handle stays where it is while it is an argument;
    // it is dropped only by `finalize`, after which it is `None`.
    let handle = unsafe {
        if lua::lua_type(call.lua, at) != lua::LUA_TUSERDATA
            || lua::lua_getmetatable(call.lua, at) == 0
        {
            return Err(misuse("argument 1", "a connection"));
        }
        let metatable = lua::lua_topointer(call.lua, -1);
        lua::pop(call.lua, 1);
        if metatable != call.context().handle {
            return Err(misuse("argument 1", "a connection"));
        }
        &*lua::lua_touserdata(call.lua, at).cast::<Option<Handle>>()
    };
    handle
        .as_ref()
        .ok_or_else(|| misuse("argument 1", "a connection that was not collected"))
}

/// `__gc` of a handle: drops the connection.
pub(crate) unsafe extern "C-unwind" fn finalize(lua: *mut lua_State) -> c_int {
    let block = lua::lua_touserdata(lua, 1).cast::<Option<Handle>>();
    // There is nobody to tell of a panic here.
    _ = catch_unwind(AssertUnwindSafe(|| drop((*block).take())));
    0
}

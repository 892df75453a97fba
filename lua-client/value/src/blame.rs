//! What the encoder's refusals say: everything that is looked at only when a value cannot be stored.

use std::os::raw::c_int;

use crate::{
    encode::{Encoder, SLOTS_PER_LEVEL},
    lua::{self, Number},
    refusal::{Refusal, quoted},
};

/// What refusals say.
impl Encoder<'_> {
    /// Adds the step by the key at `key` to the path.
    #[cold]
    pub(crate) fn within(&self, refusal: Box<Refusal>, key: c_int, depth: usize) -> Box<Refusal> {
        // SAFETY: a refusal leaves the stack as it is, so the key is still there.
        unsafe {
            if lua::lua_type(self.lua, key) == lua::LUA_TSTRING {
                refusal.in_field(lua::string_at(self.lua, key), depth)
            } else {
                refusal.in_index(self.shown(key), depth)
            }
        }
    }

    #[cold]
    pub(crate) fn too_large(&self, bytes: &str) -> Box<Refusal> {
        // Not the place but the whole is too large, so no path is shown.
        Refusal::over_limit(format!(
            "value has {bytes} bytes, the limit is {}",
            self.limits.bytes
        ))
        .shown_to(0)
    }

    /// The table at `at` is one level too deep: because it contains itself, or just so.
    #[cold]
    pub(crate) unsafe fn too_deep(&self, at: c_int, depth: usize) -> Box<Refusal> {
        let outermost = at - SLOTS_PER_LEVEL * (depth as c_int - 1);
        let tables: Vec<_> = (0..depth as c_int)
            .map(|level| lua::lua_topointer(self.lua, outermost + SLOTS_PER_LEVEL * level))
            .collect();
        match tables
            .iter()
            .enumerate()
            .find(|(i, table)| tables[..*i].contains(table))
        {
            Some((steps, _)) => {
                Refusal::new("cannot store a table that contains itself").shown_to(steps)
            }
            None => {
                Refusal::over_limit(format!("nested deeper than {} levels", self.limits.nesting))
            }
        }
    }

    #[cold]
    pub(crate) unsafe fn mixed_keys(&self, at: c_int) -> Box<Refusal> {
        let (mut string, mut other) = (None, None);
        lua::lua_settop(self.lua, at);
        lua::lua_pushnil(self.lua);
        while lua::lua_next(self.lua, at) != 0 && (string.is_none() || other.is_none()) {
            lua::pop(self.lua, 1);
            match lua::lua_type(self.lua, at + 1) {
                lua::LUA_TSTRING => string = string.or_else(|| Some(self.shown(at + 1))),
                lua::LUA_TNUMBER => other = other.or_else(|| Some(self.shown(at + 1))),
                _ => return self.odd_key(at + 1),
            }
        }
        Refusal::new(format!(
            "cannot store a table with mixed keys, [{}] and [{}]: mark it with stillpoint.map{{}}",
            other.unwrap_or_default(),
            string.unwrap_or_default()
        ))
    }

    /// A key that neither an array nor an unmarked map can have.
    #[cold]
    pub(crate) unsafe fn odd_key(&self, key: c_int) -> Box<Refusal> {
        Refusal::new(match lua::lua_type(self.lua, key) {
            lua::LUA_TNUMBER | lua::LUA_TBOOLEAN => format!(
                "cannot store a table with the key [{}]: mark it with stillpoint.map{{}}",
                self.shown(key)
            ),
            _ => format!("cannot store a table with {} as a key", self.kind(key)),
        })
    }

    #[cold]
    pub(crate) unsafe fn not_an_index(&self, key: c_int) -> Box<Refusal> {
        Refusal::new(format!(
            "cannot store an array with the key [{}]: its keys are 1..n",
            self.shown(key)
        ))
    }

    #[cold]
    pub(crate) unsafe fn hole(&self, at: c_int) -> Box<Refusal> {
        let mut missing = 0;
        loop {
            missing += 1;
            lua::lua_settop(self.lua, at);
            lua::raw_get_index(self.lua, at, missing);
            if lua::lua_type(self.lua, -1) == lua::LUA_TNIL {
                break;
            }
        }
        Refusal::new(format!(
            "cannot store an array with a hole at [{missing}]: fill it with stillpoint.null or mark it with \
             stillpoint.map{{}}"
        ))
    }

    /// The metatable on top of the stack is none of ours.
    #[cold]
    pub(crate) unsafe fn foreign_metatable(&self) -> Box<Refusal> {
        // The metatable is walked, since looking for "__name" would mean to make that string.
        let metatable = lua::lua_gettop(self.lua);
        let mut name = String::new();
        lua::lua_pushnil(self.lua);
        while lua::lua_next(self.lua, metatable) != 0 {
            let is_text = |at| lua::lua_type(self.lua, at) == lua::LUA_TSTRING;
            if is_text(metatable + 1)
                && is_text(metatable + 2)
                && lua::string_at(self.lua, metatable + 1) == b"__name"
            {
                name = format!(" {}", quoted(lua::string_at(self.lua, metatable + 2)));
            }
            lua::pop(self.lua, 1);
        }
        Refusal::new(format!(
            "cannot store a table with the metatable{name}: store its plain data"
        ))
    }

    /// A key as Lua would write it between brackets.
    pub(crate) unsafe fn shown(&self, at: c_int) -> String {
        match lua::lua_type(self.lua, at) {
            lua::LUA_TSTRING => quoted(lua::string_at(self.lua, at)),
            lua::LUA_TNUMBER => match lua::number_at(self.lua, at) {
                Number::Integer(integer) => integer.to_string(),
                Number::Float(float) => format!("{float:?}"),
            },
            lua::LUA_TBOOLEAN => (lua::lua_toboolean(self.lua, at) != 0).to_string(),
            _ => self.kind(at).to_owned(),
        }
    }

    /// What a key is that cannot be one.
    pub(crate) unsafe fn kind(&self, at: c_int) -> &'static str {
        match lua::lua_type(self.lua, at) {
            lua::LUA_TFUNCTION => "a function",
            lua::LUA_TTHREAD => "a coroutine",
            lua::LUA_TTABLE => "a table",
            _ => "a userdata",
        }
    }
}

#[cold]
pub(crate) fn bad_ext() -> Box<Refusal> {
    Refusal::new("an extension value is { type = -128..127, data = string }")
}

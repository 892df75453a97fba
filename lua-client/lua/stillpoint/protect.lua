-- A protected call through which coroutines can yield, also in Lua 5.1.
--
-- There, `pcall` is a C function that no coroutine can yield across. So in a coroutine the called function gets a
-- coroutine of its own, whose yields are passed on. `protect.running` answers with the outermost one.

local protect = {}

local running = coroutine.running

---Whether this Lua can yield across `pcall` and out of an iterator of a `for`.
---@type boolean
protect.can_yield = _VERSION ~= "Lua 5.1" or rawget(_G, "jit") ~= nil

---@type table<thread, thread> The coroutine that an inner one runs in.
local outer = setmetatable({}, { __mode = "k" })

local function finish(co, handler, ok, ...)
  if coroutine.status(co) == "suspended" then
    return finish(co, handler, coroutine.resume(co, coroutine.yield(...)))
  end
  if ok or not handler then
    return ok, ...
  end
  return false, handler((...), co)
end

local function call_in_coroutine(handler, fn, ...)
  local parent = running()
  if not parent then
    if handler then
      local args, n = { ... }, select("#", ...)
      return xpcall(function()
        return fn(unpack(args, 1, n))
      end, handler)
    end
    return pcall(fn, ...)
  end
  local co = coroutine.create(function(...)
    return fn(...)
  end)
  outer[co] = parent
  return finish(co, handler, coroutine.resume(co, ...))
end

---Calls a function; like `xpcall` with arguments, or without a handler like `pcall`.
---@param handler nil|fun(err: any, co: thread|nil): any Turns an error into what is returned.
---@param fn function
---@param ... any
---@return boolean ok
---@return any ...
function protect.call(handler, fn, ...)
  if handler then
    return xpcall(fn, handler, ...)
  end
  return pcall(fn, ...)
end

---The running coroutine; nil in the main one.
---@return thread|nil
function protect.running()
  local co, is_main = running()
  if not is_main then
    return co
  end
end

if not protect.can_yield then
  protect.call = call_in_coroutine

  function protect.running()
    local co = running()
    while outer[co or false] do
      co = outer[co]
    end
    return co
  end
end

---Does one of several things that all have to be done, though some raise.
---@param raised any[]|nil What an earlier one raised.
---@param fn function
---@param ... any
---@return any[]|nil raised What the first to raise raised; for `reraise`.
function protect.attempt(raised, fn, ...)
  local ok, err = protect.call(nil, fn, ...)
  return raised or not ok and { err } or nil
end

---@param raised any[]|nil
function protect.reraise(raised)
  if raised then
    error(raised[1], 0)
  end
end

---A handler that adds where an error comes from, if it is a string.
---@param err any
---@param co? thread
---@return any
function protect.traceback(err, co)
  if type(err) ~= "string" then
    return err
  end
  if co then
    return debug.traceback(co, err)
  end
  return debug.traceback(err, 2)
end

return protect

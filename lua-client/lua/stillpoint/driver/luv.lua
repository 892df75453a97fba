-- Driver for luv (libuv): `store:use(require "stillpoint.driver.luv")`. Calls in any coroutine but the main one wait
-- without blocking, and are resumed from `uv.run`. So no coroutine may be one that something else expects to yield to
-- it, such as a generator.

local protect = require "stillpoint.protect"
local uv = require "luv"

---@class stillpoint.driver.Luv: stillpoint.Driver
local luv = { name = "luv" }

---@type table<stillpoint.Link, userdata> Handles that watch a descriptor; each only while something is waited for.
local watching = {}

local function resume(co)
  local ok, err = coroutine.resume(co)
  if not ok then
    error(type(err) == "string" and debug.traceback(co, err) or err, 0)
  end
end

function luv.current()
  return protect.running()
end

function luv.wait(_, ticket, seconds)
  local timer
  if seconds then
    timer = uv.new_timer()
    timer:start(math.ceil(seconds * 1000), 0, function()
      luv:wake(ticket)
    end)
  end
  repeat
    coroutine.yield()
  until ticket.over
  if timer then
    timer:stop()
    timer:close()
  end
end

function luv.wake(_, ticket)
  if not ticket.over then
    ticket.over = true
    resume(ticket.task)
  end
end

function luv:sleep(seconds)
  self:wait({ task = self.current() }, seconds)
end

function luv.spawn(_, fn)
  resume(coroutine.create(fn))
end

function luv:watch(link)
  if watching[link] then
    return
  end
  local handle = uv.new_poll(link.core.fd(link.handle))
  watching[link] = handle
  handle:start("r", function()
    link:poll(0)
    if link.pending == 0 then
      self:unwatch(link)
    end
  end)
end

function luv.unwatch(_, link)
  local handle = watching[link]
  watching[link] = nil
  if handle then
    handle:stop()
    handle:close()
  end
end

return luv

-- Driver for copas: `store:use(require "stillpoint.driver.copas")`. Calls in copas threads (`copas.addthread`) wait
-- without blocking; any coroutine but the main one is taken for such a thread.
--
-- Copas waits for objects with `getfd`, by LuaSocket's `select`, which also takes one whose `dirty` is true for
-- readable. So each waiting call is such an object, on the store's one descriptor: whichever is resumed hears for all
-- of them what is done, and the others are dirty by then. This needs nothing that the oldest copas lacks. But where
-- copas has no `sleep` (before 2.0), nothing can wait for a time: it then waits for the answer only.

local copas = require "copas"
local protect = require "stillpoint.protect"
local socket = require "socket"

---@class stillpoint.driver.Copas: stillpoint.Driver
local driver = { name = "copas" }

---@type table<stillpoint.Link, boolean> Links that a thread looks after, each only while something is waited for.
local watching = {}

---@type table<stillpoint.Ticket, boolean> Tickets whose time is over.
local over = setmetatable({}, { __mode = "k" })

-- Suspends the copas thread until the condition holds, hearing from the store whenever its descriptor is readable.
local function wait_until(link, holds)
  local fd = link.core.fd(link.handle)
  copas.receive {
    getfd = function()
      return fd
    end,
    dirty = holds,
    receive = function()
      if link.handle then
        link:poll(0)
      end
      if holds() then
        return true
      end
      return nil, "timeout"
    end,
    settimeout = function() end,
    close = function() end,
  }
end

function driver.current()
  return protect.running()
end

function driver.wait(_, ticket, seconds)
  local link = ticket.link
  if seconds and copas.sleep then
    copas.addthread(function()
      copas.sleep(seconds)
      over[ticket] = true
    end)
  end
  wait_until(link, function()
    return ticket.done or over[ticket] or false
  end)
end

-- The ticket's object is dirty now.
function driver.wake() end

function driver.sleep(_, seconds)
  if copas.sleep then
    copas.sleep(seconds)
  else
    socket.sleep(seconds)
  end
end

function driver.spawn(_, fn)
  copas.addthread(fn)
end

function driver.watch(_, link)
  if watching[link] then
    return
  end
  watching[link] = true
  copas.addthread(function()
    wait_until(link, function()
      return link.pending == 0 or not link.handle
    end)
    watching[link] = nil
  end)
end

function driver.unwatch() end

return driver

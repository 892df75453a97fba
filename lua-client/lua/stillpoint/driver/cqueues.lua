-- Driver for cqueues: `store:use(require "stillpoint.driver.cqueues")`. Calls in coroutines of a controller
-- (`cq:wrap(function() ... end)`) wait without blocking.

local condition = require "cqueues.condition"
local cqueues = require "cqueues"
local protect = require "stillpoint.protect"

---@class stillpoint.driver.Cqueues: stillpoint.Driver
local driver = { name = "cqueues" }

---@type table<stillpoint.Link, integer> Descriptors watched; each only while something is waited for.
local watching = {}

function driver.current()
  local controller, direct = cqueues.running()
  -- In Lua 5.1 a protected call has a coroutine of its own, which passes on what it yields.
  if controller and (direct or protect.running() ~= coroutine.running()) then
    return controller
  end
end

function driver.wait(_, ticket, seconds)
  ticket.changed = condition.new()
  repeat
    ticket.changed:wait(seconds)
  until ticket.done or seconds
end

function driver.wake(_, ticket)
  if ticket.changed then
    ticket.changed:signal()
  end
end

function driver.sleep(_, seconds)
  cqueues.sleep(seconds)
end

function driver.spawn(_, fn)
  local controller = cqueues.running()
  if not controller then
    error("start this inside of a cqueues controller", 0)
  end
  controller:wrap(fn)
end

function driver.watch(_, link)
  local controller = cqueues.running()
  if watching[link] or not controller then
    return
  end
  local fd = link.core.fd(link.handle)
  local readable = { pollfd = fd, events = "r" }
  watching[link] = fd
  controller:wrap(function()
    while link.handle and link.pending > 0 do
      cqueues.poll(readable)
      if link.handle then
        link:poll(0)
      end
    end
    watching[link] = nil
  end)
end

function driver.unwatch(_, link)
  if watching[link] then
    cqueues.cancel(watching[link])
  end
end

return driver

-- What lets calls wait in coroutines of an event loop instead of blocking the program.
--
-- A driver tells which task is running, suspends it, and has `store:poll(0)` called whenever `store:fd()` is readable.
-- `store:use(require "stillpoint.driver.luv")` sets one; stillpoint.driver.copas and stillpoint.driver.cqueues are
-- there too, and stillpoint.scheduler is the built-in one behind `store:go`. One of your own needs:

---@class stillpoint.Driver
---@field name string For messages.
---@field current fun(self): any|nil The running task, if it may be suspended. nil or false: the call blocks.
---@field wait fun(self, ticket: stillpoint.Ticket, seconds: number|nil) Suspends the running task until `ticket.done`,
---  or until so many seconds have passed. Not done when it comes back means that the time is over.
---@field wake fun(self, ticket: stillpoint.Ticket) A ticket's `done` was set: resume its `task`, now or soon.
---@field sleep fun(self, seconds: number) Suspends the running task for a time.
---@field spawn fun(self, fn: function) Starts a task.
---@field watch fun(self, link: stillpoint.Link) Something is waited for: until `link.pending` is 0, call `link:poll(0)`
---  whenever `link.core.fd(link.handle)` is readable. Called before each wait, so it must be cheap when watching.
---@field unwatch fun(self, link: stillpoint.Link) Nothing is waited for any more, or the descriptor is about
---  to be closed; also where nothing is watched.

local driver = {}

local NEEDED = { "current", "wait", "wake", "sleep", "spawn", "watch", "unwatch" }

---Checks that a table is a driver; answers with what it lacks.
---@param value any
---@return string|nil problem
function driver.problem(value)
  if type(value) ~= "table" then
    return "driver: a table expected, got a " .. type(value)
  end
  for _, name in ipairs(NEEDED) do
    if type(value[name]) ~= "function" then
      return ("driver: it lacks the function '%s', see stillpoint.driver"):format(name)
    end
  end
end

return driver

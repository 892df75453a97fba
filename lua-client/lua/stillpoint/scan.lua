-- A collection's records in key order, page by page.

local protect = require "stillpoint.protect"

---@class stillpoint.ScanEntry: stillpoint.Record
---@field key string
---@field unreadable string|nil Why the value cannot be given in this session's version of its schema; it is nil then.

---@class stillpoint.ScanPage
---@field entries stillpoint.ScanEntry[]
---@field next_key string|nil Where to go on; nil: this was the last page.
---@field revision integer The revision the page is from.

local scan = {}

local function fetch(link, deadline, name, request)
  local ok, entries, next_key = link:call(deadline, "scan", name, request)
  if not ok then
    error(entries, 0)
  end
  request[request.reverse and "end_" or "start"] = next_key
  return entries, next_key
end

-- Lua 5.1 cannot yield out of a `for`'s iterator: later pages are then fetched by a call that blocks.
local function fetch_blocking(link, deadline, name, request)
  local driver = link.driver
  link.driver = nil
  local ok, entries, next_key = pcall(fetch, link, deadline, name, request)
  link.driver = driver
  if not ok then
    error(entries, 0)
  end
  return entries, next_key
end

---The first page is fetched at once.
---@param link stillpoint.Link
---@param deadline number For each page.
---@param name string Of the collection.
---@param request table For the core; is changed.
---@return fun(): string|nil, any, stillpoint.ScanEntry|nil
function scan.iterate(link, deadline, name, request)
  local left = request.limit or math.huge
  local entries, next_key = fetch(link, deadline, name, request)
  local fetch_more = protect.can_yield and fetch or fetch_blocking
  local i = 0
  return function()
    if left == 0 then
      return nil
    end
    while i == #entries do
      if not next_key then
        return nil
      end
      request.limit = request.limit and left
      entries, next_key = fetch_more(link, deadline, name, request)
      i = 0
    end
    i = i + 1
    left = left - 1
    local entry = entries[i]
    return entry.key, entry.value, entry
  end
end

return scan

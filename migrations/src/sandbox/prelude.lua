-- What Lua's own library does in C in a way that a migration cannot use. Written in Lua its work is counted like a script's.

local type, error = ...

local function check(value, wanted, number, name)
  if type(value) ~= wanted then
    error(("bad argument #%d to '%s' (%s expected, got %s)"):format(number, name, wanted, type(value)), 3)
  end
end

-- Lua's sort takes the time of day into account when a list resists it, so equal elements may end in any order. This one is
-- stable: they stay as they are.
local function sort(list, less)
  check(list, "table", 1, "sort")
  if less ~= nil then
    check(less, "function", 2, "sort")
  end
  local n = #list
  local from, to = list, {}
  local width = 1
  while width < n do
    for left = 1, n, 2 * width do
      local i, middle = left, left + width
      local j, last = middle, left + 2 * width - 1
      if last > n then
        last = n
      end
      for place = left, last do
        local right = j <= last
        if right and i < middle then
          if less then
            right = less(from[j], from[i])
          else
            right = from[j] < from[i]
          end
        end
        if right then
          to[place] = from[j]
          j = j + 1
        else
          to[place] = from[i]
          i = i + 1
        end
      end
    end
    from, to = to, from
    width = 2 * width
  end
  if from ~= list then
    for i = 1, n do
      list[i] = from[i]
    end
  end
end

local function move(source, first, last, to, target)
  check(source, "table", 1, "move")
  target = target or source
  check(target, "table", 5, "move")
  if to > first and to <= last and target == source then
    for i = last, first, -1 do
      target[to + i - first] = source[i]
    end
  else
    for i = first, last do
      target[to + i - first] = source[i]
    end
  end
  return target
end

return sort, move

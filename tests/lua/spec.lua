-- The runner of the Lua specs: plain Lua, for every interpreter.
--
--     local spec = require "spec"
--     spec.test("a put record can be read", function(store) ... end)
--     spec.finish()
--
-- Each test gets a store of its own: `stillpoint.memory()`, or, if STILLPOINT_SPEC_URL is set, a connection to that
-- server with a namespace of its own. So the same specs hold both to the same behaviour.

local compare = require "compare"
local stillpoint = require "stillpoint"

local spec = {}

local url = os.getenv "STILLPOINT_SPEC_URL"
local passed, failed, skipped = 0, 0, 0
local namespaces = 0
local run_id = ("%x-%s"):format(os.time(), tostring({}):match "(%x+)$")

---Whether the specs run against a server.
spec.has_server = url ~= nil and url ~= ""

---A store that nobody else uses.
---@param opts? table For `stillpoint.memory`, or `stillpoint.connect`.
---@return stillpoint.Store
function spec.store(opts)
  opts = opts or {}
  if not spec.has_server then
    return stillpoint.memory(opts)
  end
  namespaces = namespaces + 1
  opts[1] = url
  opts.namespace = opts.namespace or ("spec-%s-%d"):format(run_id, namespaces)
  return assert(stillpoint.connect(opts))
end

local SKIP = {}

---Ends a test that cannot be run here; with STILLPOINT_TEST_REQUIRE_ALL=1 it fails.
---@param why string
function spec.skip(why)
  assert(os.getenv "STILLPOINT_TEST_REQUIRE_ALL" ~= "1", why)
  error({ SKIP, why }, 0)
end

---Ends a test that makes no sense for this kind of store.
---@param why string
function spec.not_here(why)
  error({ SKIP, why }, 0)
end

---@param name string A sentence.
---@param fn fun(store: stillpoint.Store)
function spec.test(name, fn)
  local store = spec.store()
  local ok, err = xpcall(function()
    fn(store)
  end, function(err)
    if type(err) == "table" and err[1] == SKIP then
      return err
    end
    return debug.traceback(tostring(err), 2)
  end)
  store:close()
  if ok then
    passed = passed + 1
  elseif type(err) == "table" then
    skipped = skipped + 1
    print(("skipped: %s: %s"):format(name, err[2]))
  else
    failed = failed + 1
    print(("FAILED: %s\n%s"):format(name, err))
  end
end

---Prints the counts and ends the program.
function spec.finish()
  print(("%d passed, %d failed, %d skipped"):format(passed, failed, skipped))
  os.exit(failed == 0 and passed + skipped > 0 and 0 or 1)
end

spec.equal = compare.equal

---Checks the results of a call that has to fail: `spec.fails("invalid", "the key is empty", players:get "")`.
---@param reason string
---@param pattern string|nil Within the message.
---@param result any
---@param err any
---@return stillpoint.Error
function spec.fails(reason, pattern, result, err)
  if result ~= nil or type(err) ~= "table" then
    error(("a failure '%s' expected, got %s, %s"):format(reason, compare.show(result), compare.show(err)), 2)
  end
  if err.reason ~= reason or pattern and not err.message:find(pattern) then
    error(("a failure '%s' like %q expected, got %s"):format(reason, pattern or "", tostring(err)), 2)
  end
  return err
end

---Checks that a call is misuse, raised at the line that calls.
---@param message string The whole of it, without the position.
---@param fn fun() Calls in the line it is written in.
function spec.misuse(message, fn)
  local ok, err = pcall(fn)
  if ok then
    error(("misuse expected: %s"):format(message), 2)
  end
  local source, line, text = tostring(err):match "^([^\n]-):(%d+): (.*)$"
  if text ~= message then
    error(("misuse expected:\n  %s\ngot:\n  %s"):format(message, tostring(err)), 2)
  end
  local info = debug.getinfo(fn, "S")
  line = tonumber(line)
  if source ~= info.short_src or line < info.linedefined or line > info.lastlinedefined then
    error(("misuse blamed on %s:%d, not on the caller: %s"):format(source, line, message), 2)
  end
end

return spec

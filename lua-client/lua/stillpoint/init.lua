-- Stillpoint: durable state for logic processes.
--
--     local stillpoint = require "stillpoint"
--     local store = assert(stillpoint.connect { "unix:./stillpoint.sock", namespace = "world1" })
--     local players = store:collection "player"
--     assert(players:put("42", { name = "Ann", gold = 100 }))
--
-- Needs the native module stillpoint_core, built for the running Lua.

local Store = require "stillpoint.store"
local check = require "stillpoint.check"
local core = require "stillpoint_core"
local memory = require "stillpoint.memory"
local value = require "stillpoint.value"

require "stillpoint.failure"

---@class stillpoint
local stillpoint = {
  null = value.null,
  array = value.array,
  map = value.map,
  int64 = value.int64,
  ext = value.ext,
  encode = value.encode,
  decode = value.decode,
}

---Where the store is unless STILLPOINT_URL or `connect` says otherwise.
local DEFAULT_ENDPOINT = "unix:./stillpoint-data/stillpoint.sock"

local DEFAULT_NAMESPACE = "default"

---Seconds that a call may take unless told otherwise.
local DEFAULT_DEADLINE = 2.0

---@class stillpoint.ConnectOptions
---@field [integer] string Endpoints, tried in order: `unix:PATH`, `http://host:port`. STILLPOINT_URL unless given, or
---  `unix:./stillpoint-data/stillpoint.sock`.
---@field namespace string|nil Of all records; "default" unless given.
---@field service string|nil What this process is an instance of, e.g. "battle". With `instance` it has a session.
---@field instance string|nil Which one, e.g. "battle-3": its identity, which the process after it takes over.
---@field takeover boolean|nil Take the session from a process that still holds it.
---@field resume_token string|nil The same with that process's own token, see `store:session`.
---@field session_wait number|nil Seconds to wait for a process that still holds the session; 0 unless given.
---@field ttl number|nil Seconds that the session lives without a word from this process; the server's unless given.
---@field labels table<string, string>|nil For the operator, and to select instances by.
---@field schema table<string, integer>|nil By collection, the version of its data schema that this program reads and
---  writes: it gets all records in that, whatever version the store has. Of other collections, and unless given, it
---  speaks what the store has now. Refused with `schema_unsupported` if the store cannot give it. Only with a session.
---@field code_version string|nil For the operator's eye.
---@field client_name string|nil The same.
---@field deadline number|nil Seconds that a call may take, in every phase; 2 unless given.
---@field patience number|nil Seconds to keep trying while no store answers, e.g. as it starts; 0 unless given.
---@field driver stillpoint.Driver|nil See `store:use`.
local CONNECT = {
  namespace = "string",
  service = "string",
  instance = "string",
  takeover = "boolean",
  resume_token = "string",
  session_wait = "delay",
  ttl = "seconds",
  labels = "labels",
  schema = "table",
  code_version = "string",
  client_name = "string",
  deadline = "seconds",
  patience = "seconds",
  driver = "table",
}

---@class stillpoint.MemoryOptions
---@field namespace string|nil
---@field service string|nil
---@field instance string|nil
---@field takeover boolean|nil
---@field resume_token string|nil
---@field session_wait number|nil
---@field ttl number|nil
---@field labels table<string, string>|nil
---@field schema table<string, integer>|nil
---@field code_version string|nil
---@field client_name string|nil
---@field deadline number|nil
---@field now nil|fun(): number The clock by which records expire and timers fire, in seconds; `os.time` unless given.
---@field share stillpoint.Store|nil Another such store whose records this one has, too: as two processes of a server.
local MEMORY = {
  namespace = "string",
  service = "string",
  instance = "string",
  takeover = "boolean",
  resume_token = "string",
  session_wait = "delay",
  ttl = "seconds",
  labels = "labels",
  schema = "table",
  code_version = "string",
  client_name = "string",
  deadline = "seconds",
  now = "function",
  share = "table",
}

-- Splits `{ "unix:...", deadline = 1 }` into endpoints and options.
local function split(opts)
  local endpoints, named = {}, {}
  for name, item in pairs(opts) do
    if type(name) ~= "number" then
      named[name] = item
    end
  end
  for i, endpoint in ipairs(opts) do
    endpoints[i] = endpoint
  end
  return endpoints, named
end

-- A session needs both names, and it is the session that speaks a version. Called directly by public functions only.
local function check_session(opts)
  if (opts.service == nil) ~= (opts.instance == nil) then
    local missing = opts.service and "instance" or "service"
    error(("option '%s' is missing: a session is named by 'service' and 'instance'"):format(missing), 3)
  end
  if opts.schema then
    check.versions(opts.schema, 4)
    if not opts.service then
      error("option 'schema': only a session speaks a version: give 'service' and 'instance', too", 3)
    end
  end
end

---Connects to a store. One connection per process is enough; it is multiplexed, and comes back by itself.
---@param opts? stillpoint.ConnectOptions
---@return stillpoint.Store|nil store
---@return stillpoint.Error|nil err
function stillpoint.connect(opts)
  if opts == nil then
    opts = {}
  end
  check.type("table", opts, "options", 3)
  local endpoints, named = split(opts)
  check.options(named, CONNECT, 3)
  check_session(named)
  if #endpoints == 0 then
    endpoints[1] = os.getenv "STILLPOINT_URL" or DEFAULT_ENDPOINT
  end
  for _, endpoint in ipairs(endpoints) do
    check.type("string", endpoint, "endpoint", 3)
  end
  local namespace = named.namespace or DEFAULT_NAMESPACE
  check.name("namespace", namespace, 3)
  local deadline = named.deadline or DEFAULT_DEADLINE
  local handle, err = core.connect {
    endpoints = endpoints,
    namespace = namespace,
    service = named.service,
    instance = named.instance,
    takeover = named.takeover,
    resume_token = named.resume_token,
    session_wait = named.session_wait,
    ttl = named.ttl,
    labels = named.labels,
    schemas = named.schema,
    code_version = named.code_version,
    client_name = named.client_name,
    deadline = deadline,
    patience = named.patience,
  }
  if not handle then
    return nil, err
  end
  local store = Store.new(core, handle, deadline)
  if named.driver then
    store:use(named.driver)
  end
  return store
end

---A store without a server, for tests of game logic: the same verbs on records in this process, gone with it. With the
---limits that a server has unless set otherwise. It differs in one thing: `add` counts as this Lua does, and refuses
---integers that this Lua has to wrap (see `int64`); so does a transaction that reads what it added, on a server, too.
---It has no migrations: the option `schema` is checked, and then of no effect, as is `raw` of reads. A record is read
---as it was written, with the `schema` that `put` was given.
---@param opts? stillpoint.MemoryOptions
---@return stillpoint.Store|nil store
---@return stillpoint.Error|nil err Only with `share`: another store holds the session.
function stillpoint.memory(opts)
  if opts ~= nil then
    check.options(opts, MEMORY, 3)
    check_session(opts)
  end
  opts = opts or {}
  check.name("namespace", opts.namespace or DEFAULT_NAMESPACE, 3)
  local share = opts.share and opts.share._link
  if share and not (share.core == memory and share.handle) then
    error("option 'share': an open store of stillpoint.memory expected", 2)
  end
  local handle, err = memory.new(opts)
  if not handle then
    return nil, err
  end
  return Store.new(memory, handle, opts.deadline or DEFAULT_DEADLINE)
end

return stillpoint

-- A worker's desk: the job it is about to do.
--
--     desk/w1 = { number = 7, job = { id = "w1-7", once = "...", kind = "between", buyer = "p07", seller = "p12" } }
--
-- The worker *claims* the document: nobody else can write it, so reading it costs nothing, and changes apply here at
-- once and are sent by themselves; `save` waits until they are safe. A successor gets the claim with the session.

local desk = {}

---@param store stillpoint.Store
---@param worker string
---@return stillpoint.Owned mine
function desk.claim(store, worker)
  local mine = assert(store:collection("desk"):claim(worker))
  if not mine.value then
    assert(mine:put { number = 0 })
  end
  return mine
end

---Lays a job on the desk, with an id and with a token that names this one write for ever: with it, whoever repeats the
---job gets the first answer, and it is not done again.
---@param store stillpoint.Store
---@param mine stillpoint.Owned
---@param job table
function desk.lay(store, mine, job)
  local number = mine.value.number + 1
  job.id = ("%s-%d"):format(mine.key, number)
  job.once = store:once(job.id)
  assert(mine:patch { { "set", "number", number }, { "set", "job", job } })
  -- Before the job is begun, or a successor would not know of it.
  assert(mine:save())
end

---Takes away what is done.
---@param mine stillpoint.Owned
function desk.clear(mine)
  if mine.value.job then
    assert(mine:unset "job")
  end
end

return desk

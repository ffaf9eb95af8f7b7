"""The script that Redis runs for leases and the queue: each call is one atomic step.

The order is that of `FairQueue`. All names begin alike, with a part in braces, so that a cluster has them in one slot:

- `owners`: processes by their last sign of life; `epochs`: how often each has joined; `of:<owner>`: the ids of all
  that is one's, be it a lease or a place in the queue.
- `leases`: whose each is and of which backend; `taken` and `most`: how many a backend has given, and may.
- `tickets`: those who wait; `line:<class>:<backend>`: the same by start tag and number; `ends`: where each flow's share
  ends; `keys`: how many of each key wait; `aged`: the backends whose last slot an aged one had; `fair`: the virtual
  time, the last number, since when somebody is there, and until when nothing is given.

A call has what is asked, what with it, the time (that of Redis where it is empty), the seconds after which a silent
owner is taken for dead, and those after which one of the class `batch` does not give way. Whoever comes, the dead are
seen to first; a time far ahead was told by a clock that has been set back since. What comes free is handed on before
the step ends, so a free slot says that nobody waits for it.

When Redis was away from all, or has lost what it knew, it is told by one process after the other what each has. Until
all have, nothing is given: the first one would take for free what another one has. That it is so is told by who has
something or was there before, be it that one comes first who has just started.
"""

from __future__ import annotations

from typing import Final

UNKNOWN: Final = 0
DONE: Final = 1
GRANTED: Final = 2
QUEUED: Final = 3
NO_ROOM: Final = 4
KEY_FULL: Final = 5
FULL: Final = 6
UNBOUNDED: Final = 7
# Milliseconds for which a name is kept that nobody writes to; only whoever dies leaves one.
_KEPT: Final = 86_400_000
# See `fair_queue._FEW_GONE`.
_FEW: Final = 64

_NAMES: Final = ("owners", "epochs", "leases", "taken", "most", "tickets", "ends", "keys", "aged", "fair")

_STATE: Final = f"""
local base, op, told = KEYS[1], ARGV[1], cmsgpack.unpack(ARGV[2])
local now, life, aged_after = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local call = redis.call
if not now then
  local time = call('TIME')
  now = time[1] + time[2] / 1000000
end
local {", ".join(_NAMES)} = {", ".join(f"base .. '{name}'" for name in _NAMES)}
local changed, news = {{}}, {{}}
local settles = tonumber(call('HGET', fair, 'settles') or 0)
if settles > now + life then settles = now end

local function exact(number) return string.format('%.17g', number) end
local function answer(code, ...) return cmsgpack.pack({{code, ...}}) end
local function of(owner) return base .. 'of:' .. owner end
local function line(name, batch) return base .. 'line:' .. (batch and 1 or 0) .. ':' .. name end
local function flow(ticket) return (ticket.batch and 1 or 0) .. ':' .. ticket.key end
local function place(ticket) return string.format('%016.0f', ticket.number) .. ticket.id end
local function virtual() return tonumber(call('HGET', fair, 'now') or 0) end
local function ticket_of(id)
  local packed = call('HGET', tickets, id)
  return packed and cmsgpack.unpack(packed)
end
local function room(name)
  if now < settles then return false end
  local bound = call('HGET', most, name)
  return not bound or tonumber(call('HGET', taken, name) or 0) < tonumber(bound)
end
local function grant(owner, id, name)
  call('HSET', leases, id, cmsgpack.pack({{owner, name}}))
  call('HINCRBY', taken, name, 1)
  call('SADD', of(owner), id)
end
"""

_QUEUE: Final = f"""
local function sweep()
  if call('HLEN', tickets) == 0 then
    call('DEL', ends, aged)
    call('HSET', fair, 'now', 0, 'sweep', {_FEW})
  elseif call('HLEN', ends) > tonumber(call('HGET', fair, 'sweep') or {_FEW}) then
    local time, all = virtual(), call('HGETALL', ends)
    for i = 1, #all, 2 do
      if tonumber(all[i + 1]) <= time then call('HDEL', ends, all[i]) end
    end
    call('HSET', fair, 'sweep', math.max({_FEW}, 2 * call('HLEN', ends)))
  end
end
local function put(ticket)
  ticket.start = math.max(virtual(), tonumber(call('HGET', ends, flow(ticket)) or 0))
  ticket.finish = ticket.start + ticket.cost / ticket.weight
  ticket.number = call('HINCRBY', fair, 'number', 1)
  call('HSET', ends, flow(ticket), exact(ticket.finish))
  call('HINCRBY', keys, ticket.key, 1)
  call('HSET', tickets, ticket.id, cmsgpack.pack(ticket))
  call('SADD', of(ticket.owner), ticket.id)
  for _, name in ipairs(ticket.names) do
    call('ZADD', line(name, ticket.batch), exact(ticket.start), place(ticket))
    call('PEXPIRE', line(name, ticket.batch), {_KEPT})
  end
end
local function leave(ticket)
  call('HDEL', tickets, ticket.id)
  for _, name in ipairs(ticket.names) do call('ZREM', line(name, ticket.batch), place(ticket)) end
  if call('HINCRBY', keys, ticket.key, -1) < 1 then call('HDEL', keys, ticket.key) end
  sweep()
end
local function drop(ticket)
  if tonumber(call('HGET', ends, flow(ticket)) or -1) == ticket.finish then
    call('HSET', ends, flow(ticket), exact(ticket.start))
  end
  leave(ticket)
end
local function first(name, batch)
  local found = call('ZRANGE', line(name, batch), 0, 0)[1]
  return found and ticket_of(string.sub(found, 17))
end
local function next_for(name)
  local people, batch = first(name, false), first(name, true)
  local found = people or batch
  if people and batch and now - batch.since >= aged_after
    and (batch.start < people.start or batch.start == people.start and batch.number < people.number)
    and call('SADD', aged, name) == 1 then
    found = batch
  else
    call('SREM', aged, name)
  end
  if not found then return nil end
  call('HSET', fair, 'now', exact(math.max(virtual(), found.start)))
  leave(found)
  return found
end
local function serve()
  for _, name in ipairs(changed) do
    while room(name) do
      local ticket = next_for(name)
      if not ticket then break end
      grant(ticket.owner, ticket.id, name)
      table.insert(news, {{ticket.owner, ticket.id .. ' ' .. name}})
    end
  end
  changed = {{}}
end
"""

_OWNERS: Final = """
local function give_back(owner, id)
  local packed, ticket = call('HGET', leases, id), ticket_of(id)
  if packed then
    local lease = cmsgpack.unpack(packed)
    if lease[1] ~= owner then return end
    call('HDEL', leases, id)
    if call('HINCRBY', taken, lease[2], -1) < 1 then call('HDEL', taken, lease[2]) end
    table.insert(changed, lease[2])
  elseif ticket and ticket.owner == owner then
    drop(ticket)
  end
  call('SREM', of(owner), id)
end
local function forget(owner)
  for _, id in ipairs(call('SMEMBERS', of(owner))) do give_back(owner, id) end
  call('DEL', of(owner))
  call('ZREM', owners, owner)
  call('HDEL', epochs, owner)
end
local function bound(name, number)
  if number < 0 then
    call('HDEL', most, name)
  elseif tonumber(call('HGET', most, name) or -1) ~= number then
    call('HSET', most, name, number)
  else
    return
  end
  table.insert(changed, name)
end
local function hold(all)
  for _, each in ipairs(all) do
    give_back(told.owner, each[1])
    grant(told.owner, each[1], each[2])
  end
end
"""

_STEPS: Final = f"""
local steps = {{}}
function steps.join()
  if tonumber(call('HGET', epochs, told.owner) or -1) >= told.epoch then return answer({UNKNOWN}) end
  forget(told.owner)
  local last = call('ZRANGE', owners, -1, -1, 'WITHSCORES')[2]
  if not last or now - last > told.silent then call('HSET', fair, 'began', exact(now)) end
  local began = tonumber(call('HGET', fair, 'began') or now - told.silent - 1)
  if (told.epoch > 1 or #told.held > 0) and now - began <= told.silent then
    settles = now + told.settle
    call('HSET', fair, 'settles', exact(settles))
    call('HDEL', fair, 'began')
  end
  call('HSET', epochs, told.owner, told.epoch)
  call('ZADD', owners, exact(now), told.owner)
  hold(told.held)
  for _, each in ipairs(told.bounds) do bound(each[1], each[2]) end
  serve()
  return answer({DONE})
end
function steps.hold()
  hold(told.held)
  serve()
  return answer({DONE})
end
function steps.take()
  for _, each in ipairs(told.bounds) do
    if each[2] >= 0 then bound(each[1], each[2]) end
  end
  serve()
  for _, each in ipairs(told.bounds) do
    if each[2] < 0 then return answer({UNBOUNDED}, each[1]) end
    if room(each[1]) then
      grant(told.owner, told.id, each[1])
      return answer({GRANTED}, each[1])
    end
  end
  local ticket, waiting = told.ticket, call('HLEN', tickets)
  if not ticket then return answer({NO_ROOM}, '', waiting) end
  local own = tonumber(call('HGET', keys, ticket.key) or 0)
  if own >= told.of_key then return answer({KEY_FULL}, '', own) end
  if waiting >= told.waiting then return answer({FULL}, '', waiting) end
  ticket.owner, ticket.id, ticket.since = told.owner, told.id, now - ticket.waited
  ticket.names = {{}}
  for i, each in ipairs(told.bounds) do ticket.names[i] = each[1] end
  put(ticket)
  return answer({QUEUED}, '', waiting + 1)
end
function steps.back()
  for _, id in ipairs(told.ids) do give_back(told.owner, id) end
  serve()
  return answer({DONE})
end
function steps.use()
  local here = {{}}
  for _, name in ipairs(told.names) do here[name] = true end
  for _, id in ipairs(told.ids) do
    local ticket = ticket_of(id)
    if ticket then
      local left = {{}}
      for _, name in ipairs(ticket.names) do
        if here[name] then table.insert(left, name) else call('ZREM', line(name, ticket.batch), place(ticket)) end
      end
      ticket.names = left
      call('HSET', tickets, id, cmsgpack.pack(ticket))
    end
  end
  for _, each in ipairs(told.bounds) do bound(each[1], each[2]) end
  serve()
  return answer({DONE})
end
function steps.beat()
  call('ZADD', owners, exact(now), told.owner)
  local granted, lost = {{}}, {{}}
  for _, id in ipairs(told.ids) do
    local packed = call('HGET', leases, id)
    if packed then
      table.insert(granted, {{id, cmsgpack.unpack(packed)[2]}})
    elseif call('HEXISTS', tickets, id) == 0 then
      table.insert(lost, id)
    end
  end
  return answer({DONE}, call('HLEN', tickets), granted, lost)
end
function steps.leave()
  forget(told.owner)
  serve()
  return answer({DONE})
end
function steps.view()
  local all, shown = call('HGETALL', tickets), {{}}
  for i = 2, #all, 2 do
    local ticket = cmsgpack.unpack(all[i])
    shown[i / 2] = {{ticket.key, ticket.batch, ticket.start, ticket.number, now - ticket.since, ticket.names}}
  end
  return answer({DONE}, call('HGETALL', taken), call('HGETALL', most), shown)
end

if settles > 0 and now >= settles then
  call('HDEL', fair, 'settles')
  changed = call('HKEYS', most)
end
for _, owner in ipairs(call('ZRANGEBYSCORE', owners, '(' .. exact(now + life), '+inf')) do
  call('ZADD', owners, exact(now), owner)
end
for _, owner in ipairs(call('ZRANGEBYSCORE', owners, '-inf', exact(now - life))) do forget(owner) end
serve()
local known = op == 'join' or op == 'view' or tonumber(call('HGET', epochs, told.owner) or -1) == told.epoch
local reply = known and steps[op]() or answer({UNKNOWN})
for _, name in ipairs({{{", ".join(_NAMES)}, of(told.owner)}}) do call('PEXPIRE', name, {_KEPT}) end
for _, each in ipairs(news) do redis.pcall('PUBLISH', base .. 'news:' .. each[1], each[2]) end
return reply
"""

LEASES: Final = _STATE + _QUEUE + _OWNERS + _STEPS

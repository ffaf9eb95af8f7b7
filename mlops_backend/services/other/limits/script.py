"""The scripts that Redis runs: each is one atomic step, and does no more than add, compare and take the larger.

Costs are computed in Python, but for those of a part of what was asked for: so many tokens, each of them one `unit` of
whole microseconds. The keys of a principal are `state` (a hash: arrival times, what is held, a counter
for each window), `open` (reservations by the moment they expire) and `records` (what each of them took). A reservation
that was given up before its request came leaves a `gone` key, so that the request, when it comes, takes nothing.
"""

from __future__ import annotations

from typing import Final

from mlops_backend.services.other.limits.charge import FAR, MOST_ROOM

ADMITTED: Final = 0
REFUSED: Final = 1
OTHER_WINDOWS: Final = 2
UNSEEDED: Final = 3
GIVEN_UP: Final = 4

_COMMON: Final = f"""
local state, open, records, gone = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local function whole(number) return string.format('%.0f', number) end
local function moment(given)
  if given ~= '' then return tonumber(given) end
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
local function parts(record)
  return string.match(record, '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) ?(%d*)$')
end
local function close(id, used, cost, released)
  local record = redis.call('HGET', records, id)
  if not record then return 0 end
  redis.call('HDEL', records, id)
  redis.call('ZREM', open, id)
  local at, request, tokens, held, day, month, unit = parts(record)
  if unit ~= '' and unit ~= '0' then cost = math.min(used * unit, {MOST_ROOM}) end
  if released and request ~= '0' then redis.call('HINCRBY', state, 'requests', '-' .. request) end
  if held ~= '0' then
    local now = redis.call('HMGET', state, 'tokens', 'held')
    local arrival = tonumber(now[1] or 0)
    if cost > 0 then arrival = math.min(math.max(arrival, tonumber(at)) + cost, {FAR}) end
    local left = math.max(tonumber(now[2] or 0) - tonumber(held), 0)
    redis.call('HSET', state, 'tokens', whole(arrival), 'held', whole(left))
  end
  for name, start in pairs({{day = day, month = month}}) do
    if start ~= '0' and redis.call('HEXISTS', state, name .. start) == 1 then
      redis.call('HINCRBY', state, name .. start, whole(used - tonumber(tokens)))
      if unit ~= '' then redis.call('HINCRBY', state, 'aside_' .. name .. start, '-' .. tokens) end
    end
  end
  return 1
end
"""

# The counters of a principal, once they follow the limits that now hold.
# ARGV: id, moment, life, ttl, request cost and room, tokens, held and room, open at most, for the day and the month
# limit, start and end; the least tokens, the part that they may be cut to and what that holds, what one token holds,
# and the name of the rate of tokens. A room or a limit of -1 is none.
_SEEN: Final = f"""{_COMMON}
local id, now, life, ttl = ARGV[1], moment(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local request, request_room = tonumber(ARGV[5]), tonumber(ARGV[6])
local tokens, held, held_room = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local most = tonumber(ARGV[10])
local day_limit, month_limit = tonumber(ARGV[11]), tonumber(ARGV[14])
local day, month = 'day' .. ARGV[12], 'month' .. ARGV[15]
local least, part, part_held = tonumber(ARGV[17]), tonumber(ARGV[18]), tonumber(ARGV[19])
local unit, rate = ARGV[20], ARGV[21]

if now < tonumber(ARGV[12]) or now >= tonumber(ARGV[13]) or now < tonumber(ARGV[15]) or now >= tonumber(ARGV[16]) then
  return {{{OTHER_WINDOWS}, now}}
end
if redis.call('EXISTS', gone) == 1 then return {{{GIVEN_UP}, now}} end
for _, late in ipairs(redis.call('ZRANGEBYSCORE', open, '-inf', whole(now))) do close(late, 0, 0, false) end

local asides = {{'aside_' .. day, 'aside_' .. month}}
local seen = redis.call('HMGET', state, 'requests', 'tokens', 'held', day, month, 'rate', asides[1], asides[2])
local no_day, no_month = day_limit >= 0 and not seen[4], month_limit >= 0 and not seen[5]
if no_day or no_month then return {{{UNSEEDED}, now, no_day and 1 or 0, no_month and 1 or 0}} end

local requests_at, tokens_at, held_now = tonumber(seen[1] or 0), tonumber(seen[2] or 0), tonumber(seen[3] or 0)
local day_used, month_used = tonumber(seen[4] or 0), tonumber(seen[5] or 0)
local count = redis.call('ZCARD', open)
if request_room >= 0 and requests_at > now + request_room then
  requests_at = now + request_room
  redis.call('HSET', state, 'requests', whole(requests_at))
end
if held_room >= 0 and seen[6] ~= rate then
  if seen[6] then
    tokens_at, held_now = math.min(tokens_at, now + held_room), 0
    for _, other in ipairs(redis.call('HKEYS', records)) do
      local at, its_request, its_tokens, holds, its_day, its_month = parts(redis.call('HGET', records, other))
      if holds ~= '0' then
        holds = math.min(tonumber(holds), its_tokens * unit)
        held_now = held_now + holds
        local record = {{at, its_request, its_tokens, whole(holds), its_day, its_month, unit}}
        redis.call('HSET', records, other, table.concat(record, ' '))
      end
    end
  end
  redis.call('HSET', state, 'tokens', whole(tokens_at), 'held', whole(held_now), 'rate', rate)
  redis.call('PEXPIRE', state, ttl)
end
"""

RESERVE: Final = f"""{_SEEN}
local refused = request_room >= 0 and math.max(requests_at, now) + request > now + request_room
  or most >= 0 and count >= most
local taken, left = tokens, held_room - math.max(tokens_at - now, 0) - held_now
if held_room >= 0 and held > left then
  refused = refused or part_held > left
  taken = math.max(part, math.floor(left / unit))
end
local function budget(limit, used, counted)
  local aside, rest = count > 0 and math.max(tonumber(counted or 0), 0) or 0, limit - used
  if limit >= 0 and tokens > rest then
    refused = refused or rest < least + math.ceil((math.min(tokens, rest + aside) - least) / 2)
    taken = math.min(taken, rest)
  end
  return aside
end
local day_aside, month_aside = budget(day_limit, day_used, seen[7]), budget(month_limit, month_used, seen[8])
if refused then
  return {{{REFUSED}, now, 0, requests_at, tokens_at, held_now, day_used, month_used, count, day_aside, month_aside}}
end

held = math.min(taken > part and held or part_held, taken * unit)
if request_room >= 0 then requests_at = math.max(requests_at, now) + request end
held_now = held_now + held
redis.call('HSET', state, 'requests', whole(requests_at), 'tokens', whole(tokens_at), 'held', whole(held_now))
local day_counted, month_counted = '0', '0'
if seen[4] then
  day_counted, day_used = ARGV[12], redis.call('HINCRBY', state, day, whole(taken))
  redis.call('HINCRBY', state, asides[1], whole(taken))
end
if seen[5] then
  month_counted, month_used = ARGV[15], redis.call('HINCRBY', state, month, whole(taken))
  redis.call('HINCRBY', state, asides[2], whole(taken))
end
redis.call('ZADD', open, whole(now + life), id)
local record = {{whole(now), ARGV[5], whole(taken), whole(held), day_counted, month_counted, '0'}}
redis.call('HSET', records, id, table.concat(record, ' '))
for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], ttl) end
return {{{ADMITTED}, now, taken, requests_at, tokens_at, held_now, day_used, month_used, count + 1}}
"""

# The same arguments, of a reservation that has no id and takes nothing.
LOOK: Final = f"""{_SEEN}
return {{{ADMITTED}, now, 0, requests_at, tokens_at, held_now, day_used, month_used, count}}
"""

# ARGV: id, tokens used, their cost, 1 if everything comes back, milliseconds to remember one that never came or 0
SETTLE: Final = f"""{_COMMON}
local closed = close(ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1')
if closed == 0 and ARGV[5] ~= '0' then redis.call('SET', gone, '1', 'PX', ARGV[5]) end
return {{closed}}
"""

# ARGV: name of the window, its start, tokens, ttl, and the start before which counters of that name are over
SEED: Final = f"""{_COMMON}
local name, past = ARGV[1], tonumber(ARGV[5])
for _, field in ipairs(redis.call('HKEYS', state)) do
  local start = string.match(field, '^' .. name .. '(%d+)$')
  if start and tonumber(start) < past then redis.call('HDEL', state, field, 'aside_' .. field) end
end
local set = redis.call('HSETNX', state, name .. ARGV[2], ARGV[3])
redis.call('PEXPIRE', state, ARGV[4])
return {{set}}
"""

# ARGV: moment, life, ids
RENEW: Final = f"""{_COMMON}
local expires = whole(moment(ARGV[1]) + tonumber(ARGV[2]))
local renewed = 0
for i = 3, #ARGV do
  if redis.call('ZSCORE', open, ARGV[i]) then
    redis.call('ZADD', open, expires, ARGV[i])
    renewed = renewed + 1
  end
end
return {{renewed}}
"""

# ARGV: moment, cost, room
TAKE: Final = f"""{_COMMON}
local now, cost, room = moment(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local found = tonumber(redis.call('GET', state) or 0)
if found > now + room then
  found = now + room
  redis.call('SET', state, whole(found), 'PX', whole(math.ceil(room / 1000)))
end
local arrival = math.max(found, now) + cost
if arrival <= now + room then
  redis.call('SET', state, whole(arrival), 'PX', whole(math.ceil((arrival - now) / 1000)))
end
return {{now, found}}
"""

"""The script that Redis runs for journals: each call is one atomic step.

All names begin alike, with a part in braces, so that a cluster has them in one slot, and the bounds hold exactly:

- `of:<journal>`: a hash with its opening, owner, claim and head, the numbers of its `next` and its `oldest` piece, its
  `bytes`, its `outcome`, and when it was `read` last; `pieces:<journal>`: a stream whose entry `n-0` is piece n.
- `waiting:<journal>`: the processes with readers that wait for a piece, each of which is told once.
- `running` and `ended`: journals by their writer's last sign of life, and by when they are to go.
- `mine:<owner>`: an owner's journals by when they began; `claims`: the journal of each claim.
- `sizes`: the bytes of each journal, and of all under no name. A journal that Redis has dropped itself leaves it when
  its time has passed, as all others do; should Redis drop `sizes`, each journal is there again from its next piece on.

A call has what is asked, the time (that of Redis where it is empty), the bounds and what is asked with it. Whoever
comes, what has passed is seen to first. A journal of which Redis has lost a part, be it by a failover, is dropped: its
readers are to get an error, never a gap. Whoever begins one corrects times that lie ahead, told by a clock that has
been set back since.
"""

from __future__ import annotations

from typing import Final

from mlops_backend.services.other.journals.journal import JOURNAL_COST, LEFT, LOST, PAGE, PIECE_COST

NOT_FOUND: Final = 0
DONE: Final = 1
HELD: Final = 2
OWNER_FULL: Final = 3
FULL: Final = 4
# Beyond the time for which anything is kept, in seconds; nothing is left of a service that is gone.
_MARGIN: Final = 60
_INDEX_KEPT: Final = 86_400
_AT_ONCE: Final = 1000
_READ_AT_ONCE: Final = 64

_INDEX: Final = ("running", "ended", "claims", "sizes")

_STATE: Final = f"""
local base, op, now = KEYS[1], ARGV[1], tonumber(ARGV[2])
local each, all, count, of_owner, ttl = unpack(ARGV, 3, 7)
each, all, count, of_owner, ttl = tonumber(each), tonumber(all), tonumber(count), tonumber(of_owner), tonumber(ttl)
local id = ARGV[8]
local call = redis.call
if not now then
  local time = call('TIME')
  now = time[1] + time[2] / 1000000
end
local kept = math.max({LOST}, ttl)
local share = math.max(each, math.floor(all / 4))
local {", ".join(_INDEX)} = {", ".join(f"base .. '{name}'" for name in _INDEX)}

local function exact(number) return string.format('%.17g', number) end
local function entry(number) return string.format('%.0f-0', number) end
local function of(journal) return base .. 'of:' .. journal end
local function pieces(journal) return base .. 'pieces:' .. journal end
local function waiting(journal) return base .. 'waiting:' .. journal end
local function mine(owner) return base .. 'mine:' .. owner end
local function total() return tonumber(call('HGET', sizes, '') or 0) end
local function live(key, seconds) call('PEXPIRE', key, string.format('%.0f', seconds * 1000)) end
local function sized(journal, bytes)
  local was = tonumber(call('HGET', sizes, journal) or 0)
  if bytes > 0 then call('HSET', sizes, journal, bytes) else call('HDEL', sizes, journal) end
  call('HINCRBY', sizes, '', bytes - was)
end
local function touch(journal, owner)
  live(of(journal), kept + {_MARGIN})
  live(pieces(journal), kept + {_MARGIN})
  for _, key in ipairs({{{", ".join(_INDEX)}, mine(owner)}}) do live(key, kept + {_INDEX_KEPT}) end
end
local function tell(journal)
  for _, process in ipairs(call('SMEMBERS', waiting(journal))) do
    redis.pcall('PUBLISH', base .. 'to:' .. process, journal)
  end
  call('DEL', waiting(journal))
end
local function release(journal, claim)
  if claim and call('HGET', claims, claim) == journal then call('HDEL', claims, claim) end
end
local function drop(journal)
  local owner, claim = unpack(call('HMGET', of(journal), 'owner', 'claim'))
  call('DEL', of(journal), pieces(journal))
  call('ZREM', running, journal)
  call('ZREM', ended, journal)
  if owner then call('ZREM', mine(owner), journal) end
  release(journal, claim)
  sized(journal, 0)
  tell(journal)
end
local function silent(journal)
  local heard = call('ZSCORE', running, journal)
  return heard and now - heard or 0
end
"""

_BOUNDS: Final = f"""
local function not_after(index, most)
  for _, journal in ipairs(call('ZRANGEBYSCORE', index, '(' .. exact(most), '+inf', 'LIMIT', 0, {_AT_ONCE})) do
    call('ZADD', index, exact(most), journal)
  end
end
local function drop_old()
  for _, journal in ipairs(call('ZRANGEBYSCORE', ended, '-inf', exact(now), 'LIMIT', 0, {_AT_ONCE})) do
    drop(journal)
  end
  for _, journal in ipairs(call('ZRANGEBYSCORE', running, '-inf', '(' .. exact(now - kept), 'LIMIT', 0, {_AT_ONCE})) do
    drop(journal)
  end
end
local function drop_ended_of(owner)
  local first, at
  for _, journal in ipairs(call('ZRANGE', mine(owner), 0, -1)) do
    local going = call('ZSCORE', ended, journal)
    if not going and call('EXISTS', of(journal)) == 0 then
      call('ZREM', mine(owner), journal)
    elseif going and (not at or tonumber(going) < at) then
      first, at = journal, tonumber(going)
    end
  end
  if first and call('ZCARD', mine(owner)) >= of_owner then drop(first) end
end
local function drop_ended()
  local first = call('ZRANGE', ended, 0, 0)[1]
  if first then drop(first) end
  return first
end
local function is_full()
  return call('ZCARD', running) + call('ZCARD', ended) >= count or total() + {JOURNAL_COST} > all
end
local function drop_oldest(journal, known)
  local first = call('XRANGE', pieces(journal), entry(known.oldest), '+', 'COUNT', 1)[1]
  if first then known.bytes = known.bytes - #first[2][2] - {PIECE_COST} end
  known.oldest = known.oldest + 1
end
local function bytes_of(owner)
  local held, found = call('ZRANGE', mine(owner), 0, -1), 0
  for i = 1, #held, {_AT_ONCE} do
    local sizes_of = call('HMGET', sizes, unpack(held, i, math.min(#held, i + {_AT_ONCE} - 1)))
    for _, bytes in ipairs(sizes_of) do found = found + tonumber(bytes or 0) end
  end
  return found, held
end
local function fit_share(journal, known, owner)
  local own, held = bytes_of(owner)
  for _, other in ipairs(held) do
    if own <= share then return end
    if call('ZSCORE', ended, other) then
      own = own - tonumber(call('HGET', sizes, other) or 0)
      drop(other)
    end
  end
  while own > share and known.oldest < known.next do
    own = own - known.bytes
    drop_oldest(journal, known)
    own = own + known.bytes
  end
  sized(journal, known.bytes)
end
local function fit(journal, known, owner)
  local before = known.oldest
  while known.bytes > each and known.oldest < known.next do drop_oldest(journal, known) end
  sized(journal, known.bytes)
  if total() > share then fit_share(journal, known, owner) end
  while total() > all and drop_ended() do end
  while total() > all and known.oldest < known.next do
    drop_oldest(journal, known)
    sized(journal, known.bytes)
  end
  if known.oldest > before then call('XTRIM', pieces(journal), 'MINID', entry(known.oldest)) end
end
"""

_STEPS: Final = f"""
local steps = {{}}
function steps.begin()
  local opening, owner, claim, bytes = unpack(ARGV, 9, 12)
  not_after(running, now)
  not_after(ended, now + ttl)
  local holder = claim ~= '' and call('HGET', claims, claim)
  if holder then
    local held = call('HGET', of(holder), 'opening')
    if held and silent(holder) <= {LEFT} then return {{{HELD}, held}} end
  end
  if call('ZCARD', mine(owner)) >= of_owner then drop_ended_of(owner) end
  if call('ZCARD', mine(owner)) >= of_owner then return {{{OWNER_FULL}}} end
  if is_full() then drop_ended() end
  if is_full() then return {{{FULL}}} end
  call('HSET', of(id), 'opening', opening, 'owner', owner, 'next', 1, 'oldest', 1, 'bytes', bytes, 'read', exact(now))
  if claim ~= '' then
    call('HSET', of(id), 'claim', claim)
    call('HSET', claims, claim, id)
  end
  call('ZADD', running, exact(now), id)
  call('ZADD', mine(owner), exact(now), id)
  sized(id, tonumber(bytes))
  touch(id, owner)
  return {{{DONE}, opening}}
end
function steps.write()
  local owner, read, outcome = unpack(call('HMGET', of(id), 'owner', 'read', 'outcome'))
  if not owner or outcome then return {{{NOT_FOUND}}} end
  local numbers = call('HMGET', of(id), 'next', 'oldest', 'bytes')
  local known = {{next = tonumber(numbers[1]), oldest = tonumber(numbers[2]), bytes = tonumber(numbers[3])}}
  local first, head, at = tonumber(ARGV[9]), ARGV[10], known.next
  if first == 0 then first = at end
  if first > at then
    drop(id)
    return {{{NOT_FOUND}}}
  end
  local is_due = at == 1 or math.floor(now) ~= math.floor(now - silent(id))
  call('ZADD', running, 'XX', exact(now), id)
  if head ~= '' then call('HSET', of(id), 'head', head) end
  for i = 11 + at - first, #ARGV do
    call('XADD', pieces(id), entry(known.next), '', ARGV[i])
    known.next, known.bytes = known.next + 1, known.bytes + #ARGV[i] + {PIECE_COST}
  end
  if known.next > at then
    fit(id, known, owner)
    call('HSET', of(id), 'next', known.next, 'oldest', known.oldest, 'bytes', known.bytes)
  end
  if is_due then touch(id, owner) end
  if head ~= '' or known.next > at then tell(id) end
  return {{{DONE}, exact(now - read)}}
end
steps['end'] = function()
  local owner, claim, outcome, next = unpack(call('HMGET', of(id), 'owner', 'claim', 'outcome', 'next'))
  if not owner or outcome then return {{{DONE}}} end
  if tonumber(ARGV[9]) > tonumber(next) then
    drop(id)
    return {{{DONE}}}
  end
  call('HSET', of(id), 'outcome', ARGV[10])
  call('ZREM', running, id)
  call('ZADD', ended, exact(now + ttl), id)
  if ARGV[11] == '' then release(id, claim) end
  touch(id, owner)
  tell(id)
  return {{{DONE}}}
end
function steps.read()
  local next, oldest, head, outcome = unpack(call('HMGET', of(id), 'next', 'oldest', 'head', 'outcome'))
  if not next then return {{{NOT_FOUND}}} end
  next, oldest = tonumber(next), tonumber(oldest)
  local behind = next
  call('HSET', of(id), 'read', exact(now))
  local first = math.max(tonumber(ARGV[9]) + 1, oldest)
  local found, at, size = {{}}, first, 0
  while at < behind do
    local some = call('XRANGE', pieces(id), entry(at), '+', 'COUNT', {_READ_AT_ONCE})
    if not some[1] or some[1][1] ~= entry(at) then
      drop(id)
      return {{{NOT_FOUND}}}
    end
    for _, each in ipairs(some) do
      local piece = each[2][2]
      if #found > 0 and size + #piece > {PAGE} then
        behind = at
        break
      end
      table.insert(found, piece)
      at, size = at + 1, size + #piece
    end
  end
  if #found == 0 and not outcome and ARGV[10] ~= '' then
    call('SADD', waiting(id), ARGV[10])
    live(waiting(id), {_MARGIN})
  end
  return {{{DONE}, head or '', first, oldest, at >= next and outcome or '', exact(silent(id)), found}}
end
function steps.opening()
  local opening = call('HGET', of(id), 'opening')
  return opening and {{{DONE}, opening}} or {{{NOT_FOUND}}}
end
function steps.listed()
  local found = {{}}
  for _, journal in ipairs(call('ZRANGE', mine(ARGV[9]), 0, -1)) do
    local opening, next, outcome = unpack(call('HMGET', of(journal), 'opening', 'next', 'outcome'))
    if opening then table.insert(found, {{opening, tonumber(next) - 1, outcome or ''}}) end
  end
  return {{{DONE}, found}}
end
function steps.forget()
  drop(id)
  return {{{DONE}}}
end

drop_old()
return steps[op]()
"""

JOURNALS: Final = _STATE + _BOUNDS + _STEPS

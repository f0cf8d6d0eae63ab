-- Puts pieces of a copy back as they were. Doing it twice is the same as doing it once.
--
-- KEYS: rows, index, expiry, counters, tails, audit, revocations
-- ARGV: one letter per piece, and then the arguments of the pieces in turn
local call, byte = redis.call, string.byte
local ROW, DYING_ROW, COUNTER, TAIL, ENTRY = 114, 82, 99, 116, 101 -- r R c t e

local argument = 1
local function take()
  argument = argument + 1
  return ARGV[argument]
end

for i = 1, #ARGV[1] do
  local piece = byte(ARGV[1], i)
  if piece == ROW or piece == DYING_ROW then
    local path = take()
    call('HSET', KEYS[1], path, take())
    call('ZADD', KEYS[2], 0, path)
    if piece == DYING_ROW then
      call('ZADD', KEYS[3], take(), path)
    else
      call('ZREM', KEYS[3], path)
    end
  elseif piece == COUNTER then
    local path = take()
    call('HSET', KEYS[4], path, take())
  elseif piece == TAIL then
    local log, sequence, version = take(), take(), take()
    call('HSET', KEYS[5], log, sequence, log .. ':version', version)
  elseif piece == ENTRY then
    local log, sequence, entry = take(), tonumber(take()), take()
    local list = log == 'audit' and KEYS[6] or KEYS[7]
    local next = tonumber(call('HGET', KEYS[5], log) or '0') + call('LLEN', list) + 1
    if sequence == next then
      call('RPUSH', list, entry)
    elseif sequence > next then
      return 0 -- An entry before this one is missing.
    end
  end
end
return 1

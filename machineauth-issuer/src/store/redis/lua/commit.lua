-- Judges a batch, then does all of it or nothing.
--
-- KEYS: rows, index, expiry, counters, audit, revocations
-- ARGV: now (Unix ms), the batch's version, what to announce ("" for nothing), one letter per operation (checks
--       first), and then the arguments of the operations in turn
--
-- A row is 16 bytes of version, 8 bytes of expiry (Unix ms, big-endian), the value. A script that fails halfway is
-- not rolled back, so nothing is written before every check is judged, and no write below can fail.
local rows, index, expiry, counters = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local now, version, operations = tonumber(ARGV[1]), ARGV[2], ARGV[4]
local call, byte, sub = redis.call, string.byte, string.sub
local ABSENT, AT_VERSION, MINUS = 97, 118, 45 -- a v -
local ADD, MAX, APPEND_AUDIT, APPEND_REVOCATION, PUT, PUT_UNTIL, DELETE = 43, 109, 65, 82, 112, 117, 100 -- + m A R p u d

local argument = 4
local function take()
  argument = argument + 1
  return ARGV[argument]
end

local refused = false
local first_write = #operations + 1
for i = 1, #operations do
  local operation = byte(operations, i)
  if operation ~= ABSENT and operation ~= AT_VERSION then
    first_write = i
    break
  end
  local row = call('HGET', rows, take())
  local live
  if row then
    local found = sub(row, 1, 16)
    if found == version then
      return 1 -- It happened before: this is the same batch, sent again.
    end
    if struct.unpack('>I8', row, 17) > now then
      live = found
    end
  end
  if operation == ABSENT then
    refused = refused or live ~= nil
  elseif live ~= take() then
    refused = true
  end
end
if refused then
  return 0
end

-- Whether one decimal integer is greater than another. Lua's numbers are exact only up to 2^53.
local function greater(a, b)
  local x, y = tonumber(a), tonumber(b)
  if x ~= y then
    return x > y
  end
  if #a ~= #b then
    return (#a > #b) == (x > 0)
  end
  for i = 1, #a do
    local p, q = byte(a, i), byte(b, i)
    if p ~= q then
      return (p > q) == (x > 0)
    end
  end
  return false
end

for i = first_write, #operations do
  local operation, path = byte(operations, i), take()
  if operation == ADD then
    local amount = take()
    local answer = redis.pcall('HINCRBY', counters, path, amount)
    if type(answer) == 'table' and answer.err then
      if not string.find(answer.err, 'overflow', 1, true) then
        error(answer.err)
      end
      local limit = byte(amount) == MINUS and '-9223372036854775808' or '9223372036854775807'
      call('HSET', counters, path, limit)
    end
  elseif operation == MAX then
    local floor = take()
    if greater(floor, call('HGET', counters, path) or '0') then
      call('HSET', counters, path, floor)
    end
  elseif operation == APPEND_AUDIT then
    call('RPUSH', KEYS[5], path) -- The one argument is the entry.
  elseif operation == APPEND_REVOCATION then
    call('RPUSH', KEYS[6], path)
  elseif operation == PUT then
    if call('HSET', rows, path, take()) == 1 then
      call('ZADD', index, 0, path)
    else
      call('ZREM', expiry, path)
    end
  elseif operation == PUT_UNTIL then
    if call('HSET', rows, path, take()) == 1 then
      call('ZADD', index, 0, path)
    end
    call('ZADD', expiry, take(), path)
  elseif operation == DELETE then
    if call('HDEL', rows, path) == 1 then
      call('ZREM', index, path)
      call('ZREM', expiry, path)
    end
    call('HDEL', counters, path)
  end
end

if ARGV[3] ~= '' then
  call('PUBLISH', 'ma:changes', ARGV[3])
end
return 1

-- Removes the oldest entries of a log and remembers where it begins now.
--
-- KEYS: the log, tails
-- ARGV: the log's name, the number of the last entry to remove
-- Answer: how many entries were removed
local tail = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or '0')
local surplus = math.min(tonumber(ARGV[2]) - tail, redis.call('LLEN', KEYS[1]))
if surplus <= 0 then
  return 0
end
local last = redis.call('LINDEX', KEYS[1], surplus - 1)
redis.call('HSET', KEYS[2], ARGV[1] .. ':version', string.sub(last, 1, 16))
redis.call('HINCRBY', KEYS[2], ARGV[1], surplus)
redis.call('LTRIM', KEYS[1], surplus, -1)
return surplus

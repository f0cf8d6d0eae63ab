-- Removes all but the newest entries of a log and remembers where it begins now.
--
-- KEYS: the log, tails
-- ARGV: the log's name, how many entries to keep
-- Answer: how many entries were removed
local surplus = redis.call('LLEN', KEYS[1]) - tonumber(ARGV[2])
if surplus <= 0 then
  return 0
end
local last = redis.call('LINDEX', KEYS[1], surplus - 1)
redis.call('HSET', KEYS[2], ARGV[1] .. ':version', string.sub(last, 1, 16))
redis.call('HINCRBY', KEYS[2], ARGV[1], surplus)
redis.call('LTRIM', KEYS[1], surplus, -1)
return surplus

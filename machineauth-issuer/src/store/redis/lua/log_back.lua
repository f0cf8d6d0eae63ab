-- The entries of a log from the one with a given number downwards.
--
-- KEYS: the log, tails
-- ARGV: the log's name, the number of the newest entry wanted, how many entries at most, at least one
-- Answer: the number of the newest entry found, the entries, oldest first
local tail = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or '0')
local last = math.min(tonumber(ARGV[2]) - tail, redis.call('LLEN', KEYS[1]))
if last <= 0 then
  return {0, {}}
end
local first = math.max(last - tonumber(ARGV[3]), 0)
return {tail + last, redis.call('LRANGE', KEYS[1], first, last - 1)}

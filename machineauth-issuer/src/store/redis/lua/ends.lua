-- The positions before a log's oldest entry and of its newest.
--
-- KEYS: the log, tails
-- ARGV: the log's name
-- Answer: sequence and version of the tail, sequence and version of the head
local tail = redis.call('HMGET', KEYS[2], ARGV[1], ARGV[1] .. ':version')
local sequence, version = tonumber(tail[1] or '0'), tail[2] or string.rep('\0', 16)
local length = redis.call('LLEN', KEYS[1])
if length == 0 then
  return {sequence, version, sequence, version}
end
return {sequence, version, sequence + length, string.sub(redis.call('LINDEX', KEYS[1], -1), 1, 16)}

-- Removes rows that died at or before a moment, with the counters of the same keys.
--
-- KEYS: rows, index, expiry, counters
-- ARGV: the moment (Unix ms), how many rows at most
-- Answer: how many rows were removed
local paths = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
if #paths == 0 then
  return 0
end
redis.call('ZREM', KEYS[2], unpack(paths))
redis.call('HDEL', KEYS[1], unpack(paths))
redis.call('HDEL', KEYS[4], unpack(paths))
redis.call('ZREM', KEYS[3], unpack(paths))
return #paths

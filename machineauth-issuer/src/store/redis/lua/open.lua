-- Marks an empty store as ours; answers what the store says about itself.
--
-- KEYS: format
-- ARGV: the format and the number of partitions to write when there are none
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'format', ARGV[1], 'partitions', ARGV[2])
end
return redis.call('HMGET', KEYS[1], 'format', 'partitions')

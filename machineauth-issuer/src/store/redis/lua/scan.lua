-- Live rows between two paths, in bounded steps.
--
-- KEYS: rows, index
-- ARGV: the path before the first, the path after the last, how many index entries to look at, now (Unix ms),
--       "forward" or "back"
-- Answer: the last path looked at ("" when there are no more), then path and row of each live row
local paths
if ARGV[5] == 'back' then
  paths = redis.call('ZREVRANGEBYLEX', KEYS[2], '(' .. ARGV[2], '(' .. ARGV[1], 'LIMIT', 0, ARGV[3])
else
  paths = redis.call('ZRANGEBYLEX', KEYS[2], '(' .. ARGV[1], '(' .. ARGV[2], 'LIMIT', 0, ARGV[3])
end
if #paths == 0 then
  return {''}
end
local now = tonumber(ARGV[4])
local answer = {#paths == tonumber(ARGV[3]) and paths[#paths] or ''}
local found = redis.call('HMGET', KEYS[1], unpack(paths))
for i = 1, #paths do
  local row = found[i]
  if row and struct.unpack('>I8', row, 17) > now then
    answer[#answer + 1] = paths[i]
    answer[#answer + 1] = row
  end
end
return answer

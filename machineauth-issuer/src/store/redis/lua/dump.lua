-- Rows after a path, dead ones too.
--
-- KEYS: rows, index
-- ARGV: the path before the first ("" for all), how many rows at most
-- Answer: path and row of each
local from = ARGV[1] == '' and '-' or '(' .. ARGV[1]
local paths = redis.call('ZRANGEBYLEX', KEYS[2], from, '+', 'LIMIT', 0, ARGV[2])
local answer = {}
if #paths == 0 then
  return answer
end
local found = redis.call('HMGET', KEYS[1], unpack(paths))
for i = 1, #paths do
  answer[#answer + 1] = paths[i]
  answer[#answer + 1] = found[i]
end
return answer

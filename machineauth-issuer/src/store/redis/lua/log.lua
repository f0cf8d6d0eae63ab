-- The entries of a log after a position; nil when the position is not in it.
--
-- A log is a list, so that an append is one command; an entry's sequence number is its place in the list plus the
-- number of entries trimmed. `tails` has for each log that number, and the version of the last entry trimmed.
--
-- KEYS: the log, tails
-- ARGV: the log's name, sequence and version of the position, how many entries at most
local tail = redis.call('HMGET', KEYS[2], ARGV[1], ARGV[1] .. ':version')
local skip = tonumber(ARGV[2]) - tonumber(tail[1] or '0')
if skip < 0 then
  return nil
end
local own
if skip == 0 then
  own = tail[2] or string.rep('\0', 16)
else
  own = string.sub(redis.call('LINDEX', KEYS[1], skip - 1) or '', 1, 16)
end
if own ~= ARGV[3] then
  return nil
end
if ARGV[4] == '0' then
  return {} -- LRANGE takes an end of -1 for the last entry.
end
return redis.call('LRANGE', KEYS[1], skip, skip + tonumber(ARGV[4]) - 1)

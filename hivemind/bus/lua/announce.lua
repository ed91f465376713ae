-- keys: topics   args: the greatest version that the caller knows, channel of the notice, '1' if nothing was sent on the
-- topics by the caller yet, topics...
-- adds topics to the directory; returns the version in which all of them are
-- A version is at least the unix milliseconds: it grows also over the loss of all data.
as_kind(keys[1], 'zset')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local limit = now + 86400000 -- what is more than a day ahead somebody else wrote: nothing could come after it
redis.call('ZREMRANGEBYSCORE', keys[1], string.format('(%.0f', limit), '+inf')
local function number(text)
  local value = tonumber(text or '0') or 0
  return value <= limit and value or 0
end
local new, version = {}, 0
for at = 4, #args do
  local known = number(redis.call('ZSCORE', keys[1], args[at]))
  if known > 0 then
    version = math.max(version, known)
  else
    new[#new + 1] = args[at]
  end
end
if #new == 0 then
  return string.format('%.0f', version)
end
local last = redis.call('ZREVRANGE', keys[1], 0, 0, 'WITHSCORES')[2]
version = math.max(number(last) + 1, number(args[1]) + 1, now)
local text = string.format('%.0f', version)
for _, topic in ipairs(new) do
  redis.call('ZADD', keys[1], text, topic)
end
local first = args[3] == '1' and 'true' or 'false'
local notice = '{"version":' .. text .. ',"first":' .. first .. ',"topics":["' .. table.concat(new, '","') .. '"]}'
redis.call('PUBLISH', args[2], notice)
return text

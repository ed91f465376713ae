-- keys: topics   args: the greatest version that the caller knows, channel of the notice, topics...
-- adds topics to the directory; returns the version in which all of them are
-- A version is at least the unix milliseconds: it grows also over the loss of all data.
if redis.call('TYPE', keys[1]).ok ~= 'zset' then
  redis.call('DEL', keys[1])
end
local new, version = {}, 0
for at = 3, #args do
  local known = redis.call('ZSCORE', keys[1], args[at])
  if known then
    version = math.max(version, tonumber(known))
  else
    new[#new + 1] = args[at]
  end
end
if #new == 0 then
  return string.format('%.0f', version)
end
local last = redis.call('ZREVRANGE', keys[1], 0, 0, 'WITHSCORES')[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
version = math.max(tonumber(last or '0') + 1, tonumber(args[1]) + 1, now)
local text = string.format('%.0f', version)
for _, topic in ipairs(new) do
  redis.call('ZADD', keys[1], text, topic)
end
redis.call('PUBLISH', args[2], '{"version":' .. text .. ',"topics":["' .. table.concat(new, '","') .. '"]}')
return text

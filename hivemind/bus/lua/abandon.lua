-- keys: stream, dead letters, and whatever else there is of a topic   args: milliseconds
-- removes a topic that no group reads, that has no dead letters, and nothing newer than that; returns 1, or 0: it stays
local kind = redis.call('TYPE', keys[1]).ok
if kind == 'stream' then
  if #redis.call('XINFO', 'GROUPS', keys[1]) > 0 then
    return 0
  end
  local newest = redis.call('XREVRANGE', keys[1], '+', '-', 'COUNT', 1)[1]
  local time = redis.call('TIME')
  if newest and tonumber(string.match(newest[1], '^%d+')) > time[1] * 1000 + time[2] / 1000 - tonumber(args[1]) then
    return 0
  end
end
if redis.call('TYPE', keys[2]).ok == 'stream' and redis.call('XLEN', keys[2]) > 0 then
  return 0
end
redis.call('DEL', unpack(keys))
return 1

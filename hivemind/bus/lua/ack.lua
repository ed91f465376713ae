-- keys: stream, producers, retries   args: group, instance, incarnation, ids...
-- acknowledges what an instance was given; returns how many were still its own
-- Whoever takes over from a dead life says so in producers: from then on that life may acknowledge nothing.
local fence = tonumber(redis.call('HGET', keys[2], 'taken:' .. args[1] .. ':' .. args[2]) or '0') or 0
if fence >= tonumber(args[3]) and fence < 9007199254740992 then
  return redis.error_reply('FENCED ' .. string.format('%.0f', fence))
end
local is_parked = redis.call('EXISTS', keys[3]) == 1
local acknowledged = 0
for first = 4, #args, 1000 do
  local ids = { unpack(args, first, math.min(first + 999, #args)) }
  acknowledged = acknowledged + redis.call('XACK', keys[1], args[1], unpack(ids))
  if is_parked then
    for at, id in ipairs(ids) do
      ids[at] = args[1] .. ' ' .. id
    end
    redis.call('ZREM', keys[3], unpack(ids))
  end
end
return acknowledged

-- keys: stream, producers, retries   args: group, instance, incarnation, ids...
-- acknowledges what an instance was given; returns how many were still its own
-- Whoever takes over from a dead life says so in producers: from then on that life may acknowledge nothing.
local refused = fenced(keys[2], args[1], args[2], args[3])
if refused then
  return refused
end
local is_parked = redis.call('TYPE', keys[3]).ok == 'zset'
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

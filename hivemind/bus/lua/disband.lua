-- keys: stream, producers, retries, order, memory   args: group
-- removes a group from a topic, with all that is remembered of it; returns 1, or 0 where there was none
local group = args[1]
local function begins(text, prefix)
  return string.sub(text, 1, #prefix) == prefix
end
local function forget(key, ...)
  if redis.call('TYPE', key).ok == 'hash' then
    for _, field in ipairs(redis.call('HKEYS', key)) do
      for _, prefix in ipairs({ ... }) do
        if begins(field, prefix) then
          redis.call('HDEL', key, field)
        end
      end
    end
  end
end
forget(keys[2], 'taken:' .. group .. ':')
forget(keys[4], 'k' .. group .. ' ', 'g' .. group .. ' ')
redis.pcall('HDEL', keys[4], 'f' .. group)
forget(keys[5], group .. ' ')
if redis.call('TYPE', keys[3]).ok == 'zset' then
  for _, member in ipairs(redis.call('ZRANGE', keys[3], 0, -1)) do
    if begins(member, group .. ' ') then
      redis.call('ZREM', keys[3], member)
    end
  end
end
if redis.call('TYPE', keys[1]).ok ~= 'stream' then
  return 0
end
return redis.call('XGROUP', 'DESTROY', keys[1], group)

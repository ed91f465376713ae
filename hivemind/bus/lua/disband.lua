-- keys: stream, producers, retries   args: group
-- removes a group from a topic, with all that is remembered of it; returns 1, or 0 where there was none
if redis.call('TYPE', keys[2]).ok == 'hash' then
  local prefix = 'taken:' .. args[1] .. ':'
  for _, field in ipairs(redis.call('HKEYS', keys[2])) do
    if string.sub(field, 1, #prefix) == prefix then
      redis.call('HDEL', keys[2], field)
    end
  end
end
if redis.call('TYPE', keys[3]).ok == 'zset' then
  local prefix = args[1] .. ' '
  for _, member in ipairs(redis.call('ZRANGE', keys[3], 0, -1)) do
    if string.sub(member, 1, #prefix) == prefix then
      redis.call('ZREM', keys[3], member)
    end
  end
end
if redis.call('TYPE', keys[1]).ok ~= 'stream' then
  return 0
end
return redis.call('XGROUP', 'DESTROY', keys[1], args[1])

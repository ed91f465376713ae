-- keys: node hash, resolvers, resolved, topics   args: instance, incarnation, version, patterns (JSON; '' leaves them as they are)
-- says up to which version of the directory an instance has subscribed; returns 0 if this life is not registered or
-- its patterns are not known
if redis.call('TYPE', keys[1]).ok ~= 'hash' or redis.call('HGET', keys[1], 'incarnation') ~= args[2] then
  return 0
end
local types = {'hash', 'hash', 'hash', 'zset'}
for at = 2, 4 do
  as_kind(keys[at], types[at])
end
if args[4] ~= '' then
  redis.call('HSET', keys[2], args[1], args[4])
elseif redis.call('HEXISTS', keys[2], args[1]) == 0 then
  return 0
end
redis.call('HSET', keys[3], args[1], args[3])
return 1

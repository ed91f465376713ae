-- keys: node hash, set of instances, resolvers, resolved, whose   args: instance, incarnation
if redis.call('HGET', keys[1], 'incarnation') ~= args[2] then
  return 0
end
redis.call('DEL', keys[1], keys[5])
redis.call('SREM', keys[2], args[1])
redis.pcall('HDEL', keys[3], args[1])
redis.pcall('HDEL', keys[4], args[1])
return 1

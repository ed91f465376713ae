-- keys: node hash, set of instances, resolvers, resolved, whose   args: instance
-- forgets an instance whose lease has ended
if redis.call('EXISTS', keys[1]) == 1 then
  return 0
end
redis.call('DEL', keys[5])
redis.pcall('HDEL', keys[3], args[1])
redis.pcall('HDEL', keys[4], args[1])
return redis.call('SREM', keys[2], args[1])

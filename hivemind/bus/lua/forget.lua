-- keys: node hash, set of instances   args: instance
-- forgets an instance whose lease has ended
if redis.call('EXISTS', keys[1]) == 1 then
  return 0
end
return redis.call('SREM', keys[2], args[1])

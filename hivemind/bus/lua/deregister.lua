-- keys: node hash, set of instances   args: instance, incarnation
if redis.call('HGET', keys[1], 'incarnation') ~= args[2] then
  return 0
end
redis.call('DEL', keys[1])
redis.call('SREM', keys[2], args[1])
return 1

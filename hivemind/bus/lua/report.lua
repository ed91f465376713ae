-- keys: node hash   args: incarnation, stats
if redis.call('HGET', keys[1], 'incarnation') ~= args[1] then
  return 0
end
redis.call('HSET', keys[1], 'stats', args[2])
return 1

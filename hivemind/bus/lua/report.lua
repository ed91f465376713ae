-- keys: node hash, epoch   args: incarnation, stats
if redis.call('HGET', keys[1], 'incarnation') ~= args[1] then
  return 0
end
redis.call('HSET', keys[1], 'stats', args[2])
redis.call('PEXPIRE', keys[2], 86400000)
return 1

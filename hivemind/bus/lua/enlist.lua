-- keys: responders of a name, hash of the instance, since when there is such a list   args: responder, incarnation, requests in hand
-- enters a responder whose instance is registered, or puts its count right; returns 0 if it is not registered
-- Whoever was to come has come: the mark of `leave` goes.
if redis.pcall('HGET', keys[2], 'incarnation') ~= args[2] then
  return 0
end
as_kind(keys[1], 'zset')
if redis.call('EXISTS', keys[1]) == 0 then
  redis.call('SET', keys[3], now())
end
redis.call('PEXPIRE', keys[3], 86400000)
redis.call('ZREMRANGEBYSCORE', keys[1], GREATEST, '+inf')
local HAND = 68719476736
local score = tonumber(redis.call('ZSCORE', keys[1], args[1]) or '0')
score = score % HAND + tonumber(args[3]) * HAND
redis.call('ZADD', keys[1], string.format('%.0f', score), args[1])
redis.call('PEXPIRE', keys[1], 86400000) -- names that nobody answers to any more leave nothing behind
return 1

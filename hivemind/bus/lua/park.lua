-- keys: stream, producers, retries   args: group, instance, incarnation, id, delay (ms)
-- lets a message wait before its next try, whoever makes it; returns when that is due, in unix ms, or 0: not ours
local refused = fenced(keys[2], args[1], args[2], args[3])
if refused then
  return refused
end
as_kind(keys[3], 'zset')
local held = redis.call('XPENDING', keys[1], args[1], args[4], args[4], 1)
if #held == 0 then
  return 0
end
local score = score_of(tonumber(args[5]))
redis.call('ZADD', keys[3], score, args[1] .. ' ' .. args[4])
return math.floor(tonumber(score))

-- keys: stream, producers, retries   args: group, instance, incarnation, id, delay (ms; '': it does not wait), how many
-- tries were counted ('': it stays as it is)
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
if (args[6] or '') ~= '' then
  redis.call('XCLAIM', keys[1], args[1], held[1][2], 0, args[4], 'RETRYCOUNT', args[6], 'JUSTID')
end
if args[5] == '' then
  return 0
end
local score = score_of(tonumber(args[5]))
redis.call('ZADD', keys[3], score, args[1] .. ' ' .. args[4])
return math.floor(tonumber(score))

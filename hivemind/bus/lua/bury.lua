-- keys: stream, producers, retries, dead letters, order   args: group, instance, incarnation, id, letter, most letters,
-- key ('': none), consumer
-- writes a dead letter and acknowledges its message; returns the letter's id, or 0: it is not ours any more
local refused = fenced(keys[2], args[1], args[2], args[3])
if refused then
  return refused
end
if #redis.call('XPENDING', keys[1], args[1], args[4], args[4], 1) == 0 then
  return 0
end
as_kind(keys[3], 'zset')
as_kind(keys[4], 'stream')
local letter = redis.call('XADD', keys[4], 'MAXLEN', '~', args[6], '*', 'b', args[5]) -- before the message is let go
redis.call('XACK', keys[1], args[1], args[4])
redis.call('ZREM', keys[3], args[1] .. ' ' .. args[4])
if args[7] ~= '' then
  as_hash(keys[5])
  lower(keys[5], args[1], args[7], args[8])
end
return letter

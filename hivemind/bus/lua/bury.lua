-- keys: stream, producers, retries, dead letters, order   args: group, instance, incarnation, id, letter, most letters,
-- key ('': none), consumer
-- writes a dead letter and acknowledges its message; returns the letter's id, or 0: it is not ours any more
local fence = tonumber(redis.call('HGET', keys[2], 'taken:' .. args[1] .. ':' .. args[2]) or '0') or 0
if fence >= tonumber(args[3]) and fence < 9007199254740992 then
  return redis.error_reply('FENCED ' .. string.format('%.0f', fence))
end
if redis.call('XACK', keys[1], args[1], args[4]) == 0 then
  return 0
end
redis.call('ZREM', keys[3], args[1] .. ' ' .. args[4])
if args[7] ~= '' then
  lower(keys[5], args[1], args[7], args[8])
end
return redis.call('XADD', keys[4], 'MAXLEN', '~', args[6], '*', 'b', args[5])

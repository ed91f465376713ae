-- keys: stream, producers, retries   args: group, consumer that takes, instance and incarnation that ended, its
-- consumer, most, how the clock was set, key of that instance, when its lease ended ('' where that is not why)
-- takes what an ended life still held, without beginning a try; returns for each {id, tries, in how many ms it
-- is due, or -1: it was not parked}. From then on that life may acknowledge nothing. When nothing is left its consumer is removed.
as_hash(keys[2])
as_kind(keys[3], 'zset')
if has_spoken(keys[2], args[1], args[3], args[4], args[8], args[9]) then
  return {}
end
local field = 'taken:' .. args[1] .. ':' .. args[3]
local fence = tonumber(redis.call('HGET', keys[2], field) or '0') or 0
if fence < tonumber(args[4]) or fence >= 9007199254740992 then
  redis.call('HSET', keys[2], field, args[4])
end
local found = {}
for _, held in ipairs(redis.call('XPENDING', keys[1], args[1], '-', '+', args[6], args[5])) do
  local due = redis.call('ZSCORE', keys[3], args[1] .. ' ' .. held[1])
  redis.call('XCLAIM', keys[1], args[1], args[2], 0, held[1], 'JUSTID')
  found[#found + 1] = { held[1], held[4], wait_of(due, args[7]) }
end
if #redis.call('XPENDING', keys[1], args[1], '-', '+', 1, args[5]) == 0 then
  redis.call('XGROUP', 'DELCONSUMER', keys[1], args[1], args[5])
end
return found

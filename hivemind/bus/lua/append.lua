-- keys: stream, producers   args: PUBLISH or SPUBLISH, channel, instance, incarnation, first sequence, the one that was
-- last and has to be there, whether else nothing may be appended ('' or 1), the greatest that the sender ever wrote here
-- before, most entries or '', most milliseconds or '', bodies...
-- appends the bodies that are not there yet, publishes them, and caps the stream, if it is to be capped; returns how
-- many it appended. Where the stream was not there, or was something else, it returns -2 - 2 * the sequence that was
-- last; where only that is less than it has to be, because Redis came back with what it had before, one more than that
-- Messages of one sender come in the order of their sequences: what is not above the last one was appended before.
local producer, incarnation, sequence = args[3], tonumber(args[4]), tonumber(args[5])
local last = 0
as_hash(keys[2])
local stored = redis.call('HGET', keys[2], producer)
if stored then
  local life, sent = string.match(stored, '^(%d+):(%d+)$')
  life = tonumber(life or '0')
  if life > incarnation and life < 9007199254740992 then
    return redis.error_reply('FENCED ' .. string.format('%.0f', life))
  end
  if life == incarnation then
    last = tonumber(sent)
    if last > tonumber(args[8]) then -- somebody else wrote that: what is confirmed is there, of more nobody knows
      last = tonumber(args[6])
    end
  end
end
local is_behind = last < tonumber(args[6])
if is_behind and args[7] ~= '' then
  return redis.error_reply('BEHIND ' .. string.format('%.0f', last))
end
local is_there = redis.call('TYPE', keys[1]).ok == 'stream'
if not is_there then
  as_kind(keys[1], 'stream')
end
local call, stream, verb, channel = redis.call, keys[1], args[1], args[2]
local appended, hearers = 0, nil
for at = 11, #args do
  if sequence > last then
    call('XADD', stream, '*', 'b', args[at])
    if hearers ~= 0 then -- who does not listen now will not before this function ends
      hearers = call(verb, channel, args[at])
    end
    appended = appended + 1
  end
  sequence = sequence + 1
end
-- Also where nothing is new: then this connection has written something for whose confirmation it can wait.
redis.call('HSET', keys[2], producer, args[4] .. ':' .. string.format('%.0f', math.max(last, sequence - 1)))
if appended > 0 and args[9] ~= '' then
  redis.call('XTRIM', keys[1], 'MAXLEN', '~', args[9])
end
if appended > 0 and args[10] ~= '' then
  local time = redis.call('TIME')
  local oldest = math.max(0, time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(args[10]))
  redis.call('XTRIM', keys[1], 'MINID', '~', string.format('%.0f-0', oldest))
end
if is_there and not is_behind then
  return appended
end
return (is_there and -1 or -2) - 2 * last

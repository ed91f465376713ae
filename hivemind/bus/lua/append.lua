-- keys: stream, producers   args: PUBLISH or SPUBLISH, channel, instance, incarnation, first sequence, bodies...
-- appends the bodies that are not there yet, and publishes them; returns how many it appended
-- Messages of one sender come in the order of their sequences: what is not above the last one was appended before.
local producer, incarnation, sequence = args[3], tonumber(args[4]), tonumber(args[5])
local last = 0
if redis.call('TYPE', keys[2]).ok ~= 'hash' then
  redis.call('DEL', keys[2])
end
local stored = redis.call('HGET', keys[2], producer)
if stored then
  local life, sent = string.match(stored, '^(%d+):(%d+)$')
  life = tonumber(life or '0')
  if life > incarnation and life < 9007199254740992 then
    return redis.error_reply('FENCED ' .. string.format('%.0f', life))
  end
  if life == incarnation then
    last = tonumber(sent)
  end
end
local appended = 0
for at = 6, #args do
  if sequence > last then
    redis.call('XADD', keys[1], '*', 'b', args[at])
    redis.call(args[1], args[2], args[at])
    appended = appended + 1
  end
  sequence = sequence + 1
end
if appended > 0 then
  redis.call('HSET', keys[2], producer, args[4] .. ':' .. string.format('%.0f', sequence - 1))
end
return appended

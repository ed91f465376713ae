-- keys: node hash, epoch, whose   args: incarnation, lease (ms), stats
-- returns 1 renewed, 0 nothing there, or the newer incarnation as text
local function newer(text)
  local value = tonumber(text or '0') or 0
  return value > tonumber(args[1]) and value < 9007199254740992
end
local stored = redis.call('TYPE', keys[2]).ok == 'string' and redis.call('GET', keys[2])
if newer(stored) then
  return stored
end
local held = redis.call('TYPE', keys[1]).ok == 'hash' and redis.call('HGET', keys[1], 'incarnation')
if newer(held) then
  return held
end
if held ~= args[1] then
  return 0
end
redis.call('HSET', keys[1], 'stats', args[3])
redis.call('PEXPIRE', keys[2], 86400000)
redis.call('PEXPIRE', keys[3], 86400000)
return redis.call('PEXPIRE', keys[1], args[2])

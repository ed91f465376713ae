-- keys: node hash, epoch, whose   args: incarnation, lease (ms), stats
-- returns 1 renewed, 0 nothing there, or the newer incarnation as text
local function newer(text)
  local value = tonumber(text or '0') or 0
  return value > tonumber(args[1]) and value < 9007199254740992
end
local stored = redis.pcall('GET', keys[2])
stored = type(stored) == 'string' and stored
if newer(stored) then
  return stored
end
local held = redis.pcall('HGET', keys[1], 'incarnation')
held = type(held) == 'string' and held
if newer(held) then
  return held
end
if held ~= args[1] then
  return 0
end
redis.call('HSET', keys[1], 'stats', args[3])
redis.call('PEXPIRE', keys[2], 86400000)
if redis.call('PTTL', keys[3]) < 43200000 then
  redis.call('PEXPIRE', keys[3], 86400000)
end
return redis.call('PEXPIRE', keys[1], args[2])

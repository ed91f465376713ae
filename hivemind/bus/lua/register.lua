-- keys: node hash, set of instances, epoch   args: instance, lease (ms), about, stats, incarnation (0: a new life), may take over from
-- returns {incarnation, ''} or {0, about of the holder}
if redis.call('TYPE', keys[1]).ok ~= 'hash' then
  redis.call('DEL', keys[1])
end
local function number(text)
  local value = tonumber(text or '0') or 0
  return value < 9007199254740992 and value or 0 -- garbage, and what no incarnation can be, is nothing
end
local held = redis.call('HGET', keys[1], 'incarnation')
local wanted = tonumber(args[5])
if wanted == 0 then
  if held and held ~= args[6] then
    return {0, redis.call('HGET', keys[1], 'about'), held}
  end
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local stored = number(redis.call('TYPE', keys[3]).ok == 'string' and redis.call('GET', keys[3]))
  wanted = math.max(stored + 1, now)
else
  local stored = math.max(number(redis.call('TYPE', keys[3]).ok == 'string' and redis.call('GET', keys[3])), number(held))
  if stored > wanted then
    return {-1, '', string.format('%.0f', stored)}
  end
end
local text = string.format('%.0f', wanted)
redis.call('SET', keys[3], text, 'PX', 86400000)
redis.call('DEL', keys[1])
redis.call('HSET', keys[1], 'incarnation', text, 'about', args[3], 'stats', args[4])
redis.call('PEXPIRE', keys[1], args[2])
redis.call('SADD', keys[2], args[1])
-- Forget some of those whose last beat was a day ago, so that the set does not grow for ever.
local node, epoch = string.sub(keys[1], 1, -#args[1] - 1), string.sub(keys[3], 1, -#args[1] - 1)
for _, other in ipairs(redis.call('SRANDMEMBER', keys[2], 10)) do
  if redis.call('EXISTS', node .. other, epoch .. other) == 0 then
    redis.call('SREM', keys[2], other)
  end
end
return {1, '', text}

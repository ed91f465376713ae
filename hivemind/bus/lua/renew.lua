-- keys: node hash, epoch   args: incarnation, lease (ms)
-- returns 1 renewed, 0 nothing there, or the newer incarnation as text
local stored = redis.call('GET', keys[2])
if stored and tonumber(stored) > tonumber(args[1]) then
  return stored
end
local held = redis.call('HGET', keys[1], 'incarnation')
if held and tonumber(held) > tonumber(args[1]) then
  return held
end
if held ~= args[1] then
  return 0
end
return redis.call('PEXPIRE', keys[1], args[2])

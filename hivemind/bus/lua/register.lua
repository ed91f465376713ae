-- keys: node hash, set of instances, epoch, patterns, resolvers, resolved, readers that ended, layout, whose
-- args: instance, lease (ms), about, stats, incarnation (0: a new life), may take over from, how to keep patterns,
-- channel of the notice when that changes, the last sign of whom may be taken over from ('': whatever it is), who held it
-- when we looked before ('': we did not), the layout that we read and write
-- returns {1, '', incarnation, how this hive keeps patterns},
-- {0, about of the holder, its incarnation, when its lease ends, its last sign: what each of its beats changes}
-- or {-1, '', the newer one}, or {-2, '', the layout that is stored, if it is another}. Whose lease has ended, and who did not say goodbye, may live: Redis's clock may have been set.
local layout = redis.call('TYPE', keys[8]).ok == 'string' and tonumber(redis.call('GET', keys[8]))
if not layout then -- a hive that does not say has the first
  layout = redis.call('EXISTS', keys[2], keys[4]) > 0 and 1 or tonumber(args[11])
  redis.pcall('SET', keys[8], string.format('%.0f', layout)) -- in a hive that is secured only hived and the root may
end
if layout ~= tonumber(args[11]) then
  return {-2, '', string.format('%.0f', layout)}
end
if redis.call('TYPE', keys[1]).ok ~= 'hash' then
  redis.call('DEL', keys[1])
end
local function number(text)
  local value = tonumber(text or '0') or 0
  return value < 9007199254740992 and value or 0 -- garbage, and what no incarnation can be, is nothing
end
local held = redis.call('HGET', keys[1], 'incarnation')
if held and number(held) == 0 then
  redis.call('DEL', keys[1]) -- nobody's: what has no life can neither beat nor end
  held = false
end
local wanted = tonumber(args[5])
if wanted == 0 then
  local stored = number(redis.call('TYPE', keys[3]).ok == 'string' and redis.call('GET', keys[3]))
  local expires = held and redis.call('PEXPIRETIME', keys[1]) or 0
  local sign = redis.call('PEXPIRETIME', keys[3]) -- it outlives the lease, whatever becomes of the clock
  if not held and stored > 0 and redis.call('SISMEMBER', keys[2], args[1]) == 1 then
    local gone = redis.pcall('HGET', keys[7], args[1])
    if number(type(gone) == 'string' and gone) < stored then
      held = string.format('%.0f', stored)
    end
  elseif not held and stored == 0 and args[10] ~= '' then
    held = args[10] -- Redis lost its data
  end
  if held and (held ~= args[6] or (args[9] ~= '' and tonumber(args[9]) ~= sign)) then
    local whose = redis.pcall('GET', keys[9]) -- a process that is gone, with its lease, is known by that
    return {0, redis.call('HGET', keys[1], 'about') or type(whose) == 'string' and whose or '', held, expires, sign}
  end
  wanted = math.max(math.max(stored, number(held)) + 1, now())
  redis.pcall('HDEL', keys[5], args[1]) -- what the life before has subscribed to
  redis.pcall('HDEL', keys[6], args[1])
else
  local stored = math.max(number(redis.call('TYPE', keys[3]).ok == 'string' and redis.call('GET', keys[3])), number(held))
  if stored > wanted then
    return {-1, '', string.format('%.0f', stored)}
  end
end
local text = string.format('%.0f', wanted)
redis.call('SET', keys[3], text, 'PX', 86400000)
redis.call('SET', keys[9], args[3], 'PX', 86400000)
redis.call('DEL', keys[1])
redis.call('HSET', keys[1], 'incarnation', text, 'about', args[3], 'stats', args[4])
redis.call('PEXPIRE', keys[1], args[2])
redis.call('SADD', keys[2], args[1])
-- Forget some of those whose last beat was a day ago, so that the set does not grow for ever.
local node, epoch = string.sub(keys[1], 1, -#args[1] - 1), string.sub(keys[3], 1, -#args[1] - 1)
for _, other in ipairs(redis.call('SRANDMEMBER', keys[2], 10)) do
  if redis.call('EXISTS', node .. other, epoch .. other) == 0 then
    redis.call('SREM', keys[2], other)
    redis.pcall('HDEL', keys[5], other)
    redis.pcall('HDEL', keys[6], other)
  end
end
-- How patterns are kept changes only while nobody else lives.
local function others_live()
  for _, other in ipairs(redis.call('SMEMBERS', keys[2])) do
    if other ~= args[1] and redis.call('EXISTS', node .. other) == 1 then
      return true
    end
  end
end
local mode = redis.call('TYPE', keys[4]).ok == 'string' and redis.call('GET', keys[4])
if mode ~= args[7] and not ((mode == 'server' or mode == 'resolved') and others_live()) then
  mode = args[7]
  redis.call('SET', keys[4], mode)
  redis.call('PUBLISH', args[8], '{"patterns":"' .. mode .. '","topics":[]}')
end
return {1, '', text, mode}

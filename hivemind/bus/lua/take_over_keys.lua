-- keys: stream, producers, retries, order   args: group, consumer that takes, instance ('': itself) and incarnation that
-- ended, its consumer, path of the key, how the clock was set, key of that instance, when its lease ended ('' where that is
-- not why)
-- as take_over, but all at once, and with the keys, which are in the taker's hands from then on; returns for each {id,
-- tries, in how many ms it is due or -1, key or ''}. Of itself a reader learns so what it holds, and its keys are counted anew.
local group, me, ended = args[1], args[2], args[5]
as_hash(keys[2])
as_kind(keys[3], 'zset')
as_hash(keys[4])
if has_spoken(keys[2], group, args[3], args[4], args[8], args[9]) then
  return {}
end
if args[3] ~= '' then
  local field = 'taken:' .. group .. ':' .. args[3]
  local fence = tonumber(redis.call('HGET', keys[2], field) or '0') or 0
  if fence < tonumber(args[4]) or fence >= GREATEST then
    redis.call('HSET', keys[2], field, args[4])
  end
end
local found, counts = {}, {}
for _, held in ipairs(redis.call('XPENDING', keys[1], group, '-', '+', 1000000, ended)) do
  local id = held[1]
  local entry = redis.call('XRANGE', keys[1], id, id)[1]
  local key = entry and key_of(entry[2], args[6]) or ''
  local due = redis.call('ZSCORE', keys[3], group .. ' ' .. id)
  if ended ~= me then
    redis.call('XCLAIM', keys[1], group, me, 0, id, 'JUSTID')
  end
  counts[key] = (counts[key] or 0) + 1
  found[#found + 1] = { id, held[4], wait_of(due, args[7]), key }
end
local prefix = 'k' .. group .. ' '
local order = redis.call('HGETALL', keys[4])
for at = 1, #order, 2 do
  local owner = string.match(order[at + 1], '^%d+ (.+)$')
  if string.sub(order[at], 1, #prefix) == prefix and (owner == ended or owner == nil) then
    local key = string.sub(order[at], #prefix + 1)
    if counts[key] then
      redis.call('HSET', keys[4], order[at], string.format('%.0f', counts[key]) .. ' ' .. me)
    else
      redis.call('HDEL', keys[4], order[at])
    end
  elseif string.sub(order[at], 1, #prefix) == prefix and owner == me then
    local key = string.sub(order[at], #prefix + 1)
    local count = tonumber(string.match(order[at + 1], '^%d+')) + (counts[key] or 0)
    redis.call('HSET', keys[4], order[at], string.format('%.0f', count) .. ' ' .. me)
  end
end
for key, count in pairs(counts) do
  if key ~= '' and redis.call('HEXISTS', keys[4], prefix .. key) == 0 then
    redis.call('HSET', keys[4], prefix .. key, string.format('%.0f', count) .. ' ' .. me)
  end
end
redis.call('HDEL', keys[4], 'g' .. group .. ' ' .. ended)
if ended ~= me then
  redis.call('XGROUP', 'DELCONSUMER', keys[1], group, ended)
end
return found

-- keys: stream, producers, order   args: group, instance, incarnation, consumer, most, path of the key
-- gives a reader what is ordered by a key: what others gave to it, then what is new. A message whose key is in the hands
-- of another reader is given to that one, so that all messages of a key that are under way are in one pair of hands.
-- Returns {id of the last entry that the group was given, '1' if somebody has to take what waits for him before anybody
-- reads on, how many messages the stream has lost, {id, fields, key or ''}...}
local GIVEN = 8192 -- bytes of ids that may wait for one reader, some 500
local refused = fenced(keys[2], args[1], args[2], args[3])
if refused then
  return refused
end
as_hash(keys[3])
local group, me, most, path = args[1], args[4], tonumber(args[5]), args[6]
local found, rest, lost = {}, {}, 0
local mine = 'g' .. group .. ' ' .. me
local given = redis.call('HGET', keys[3], mine)
if given then
  for id in string.gmatch(given, '%d+%-%d+') do
    if #found >= most then
      rest[#rest + 1] = id
    else
      local entries = redis.pcall('XRANGE', keys[1], id, id)
      if entries[1] then
        found[#found + 1] = { id, entries[1][2], key_of(entries[1][2], path) or '' }
      elseif not entries.err then
        lost = lost + redis.call('XACK', keys[1], group, id)
      end
    end
  end
  if #rest > 0 then
    redis.call('HSET', keys[3], mine, table.concat(rest, ' '))
  else
    redis.call('HDEL', keys[3], mine)
  end
end
local is_held_up = false
local full = redis.call('HGET', keys[3], 'f' .. group)
if full then
  is_held_up = #(redis.call('HGET', keys[3], 'g' .. group .. ' ' .. full) or '') > GIVEN / 8
  if not is_held_up then
    redis.call('HDEL', keys[3], 'f' .. group)
  end
end
local owners, gave = {}, {}
if #found < most and not is_held_up then
  local words = { 'GROUP', group, me, 'COUNT', most - #found, 'STREAMS', keys[1], '>' }
  local reply = redis.call('XREADGROUP', unpack(words))
  for _, entry in ipairs(reply and reply[1] and reply[1][2] or {}) do
    local id, fields = entry[1], entry[2]
    local key = key_of(fields, path)
    if fields[3] == 'g' and fields[4] ~= group then
      redis.call('XACK', keys[1], group, id) -- a replayed letter of another group
    elseif not key then
      found[#found + 1] = { id, fields, '' }
    else
      local held = owners[key]
      if not held then
        local count, owner = in_hands(keys[3], group, key)
        if count == 0 or (owner ~= me and is_fenced(keys[2], group, owner)) then
          count, owner = 0, me
        end
        held = { count, owner }
        owners[key] = held
      end
      held[1] = held[1] + 1
      if held[2] == me then
        found[#found + 1] = { id, fields, key }
      else
        redis.call('XCLAIM', keys[1], group, held[2], 0, id, 'JUSTID')
        gave[held[2]] = (gave[held[2]] and gave[held[2]] .. ' ' or '') .. id
      end
    end
  end
end
for key, held in pairs(owners) do
  redis.call('HSET', keys[3], 'k' .. group .. ' ' .. key, string.format('%.0f', held[1]) .. ' ' .. held[2])
end
for owner, ids in pairs(gave) do
  local field = 'g' .. group .. ' ' .. owner
  local waiting = redis.call('HGET', keys[3], field)
  ids = (waiting and waiting .. ' ' or '') .. ids
  redis.call('HSET', keys[3], field, ids)
  if #ids > GIVEN then
    redis.call('HSET', keys[3], 'f' .. group, owner)
  end
end
local last = '0-0'
for _, listed in ipairs(redis.call('XINFO', 'GROUPS', keys[1])) do
  local named = {}
  for at = 1, #listed, 2 do
    named[listed[at]] = listed[at + 1]
  end
  if named.name == group then
    last = named['last-delivered-id']
  end
end
return { last, is_held_up and '1' or '', lost, found }

-- keys: stream   args: most milliseconds or '', most entries or '', "durable" or not, groups that hold nothing back any
-- more...
-- removes what is older, or more, than that, but of a durable one nothing that a group has yet to read or to
-- acknowledge; a thousand entries at the most, so that nobody waits; returns how many
local PORTION = 1000
local function parts(id)
  local ms, number = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(number)
end
local function least(one, other)
  local a, b = parts(one)
  local c, d = parts(other)
  return (a < c or (a == c and b < d)) and one or other
end
local function as_map(list)
  local map = {}
  for at = 1, #list, 2 do
    map[list[at]] = list[at + 1]
  end
  return map
end
local retired = {}
for at = 4, #args do
  retired[args[at]] = true
end
if redis.call('TYPE', keys[1]).ok ~= 'stream' then
  return 0
end
local time = redis.call('TIME')
local limit = '0-0'
if args[1] ~= '' then
  limit = string.format('%.0f-0', math.max(0, time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(args[1])))
end
local spare = args[2] ~= '' and redis.call('XLEN', keys[1]) - tonumber(args[2]) or 0
local oldest = redis.call('XRANGE', keys[1], '-', '+', 'COUNT', math.max(1, math.min(spare, PORTION) + 1))
if #oldest == 0 then
  return 0
end
if spare > 0 and least(limit, oldest[#oldest][1]) == limit then
  limit = oldest[#oldest][1]
end
local groups = args[3] == 'durable' and redis.call('XINFO', 'GROUPS', keys[1]) or {}
for _, listed in ipairs(groups) do
  local group = as_map(listed)
  if not retired[group.name] then
    if group.pending > 0 then
      limit = least(limit, redis.call('XPENDING', keys[1], group.name)[2])
    else
      local ms, number = parts(group['last-delivered-id'])
      limit = least(limit, string.format('%.0f-%.0f', ms, number + 1))
    end
  end
end
return redis.call('XTRIM', keys[1], 'MINID', '~', limit, 'LIMIT', PORTION)

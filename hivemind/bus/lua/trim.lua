-- keys: stream   args: most milliseconds or '', most entries or '', "durable" or not, groups that hold nothing back any
-- more...
-- removes what is older, or more, than that, but of a durable one nothing that a group has yet to read or to
-- acknowledge; ten thousand entries at the most for each reason, so that nobody waits; returns how many
local PORTION, ALL = 10000, '18446744073709551615-18446744073709551615'
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
local held = ALL
local groups = args[3] == 'durable' and redis.call('XINFO', 'GROUPS', keys[1]) or {}
for _, listed in ipairs(groups) do
  local group = as_map(listed)
  if not retired[group.name] then
    if group.pending > 0 then
      held = least(held, redis.call('XPENDING', keys[1], group.name)[2])
    else
      local ms, number = parts(group['last-delivered-id'])
      held = least(held, string.format('%.0f-%.0f', ms, number + 1))
    end
  end
end
local removed = 0
if args[1] ~= '' then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local oldest = string.format('%.0f-0', math.max(0, now - tonumber(args[1])))
  removed = redis.call('XTRIM', keys[1], 'MINID', '~', least(held, oldest), 'LIMIT', PORTION)
end
local spare = args[2] ~= '' and redis.call('XLEN', keys[1]) - tonumber(args[2]) or 0
if spare > 0 then -- the limit, and not the id, says how much of it goes
  removed = removed + redis.call('XTRIM', keys[1], 'MINID', '~', held, 'LIMIT', math.min(spare, PORTION))
end
return removed

-- keys: stream   args: an entry ('+': behind the last one), how many
-- goes back that many entries; returns the one where that ends, and how many it were: fewer where they are large, none
-- where there are none
local PORTION, BYTES = 20, 16777216 -- entries in memory at once; bytes that are gone through in one call, about
local at, left, size = args[1], tonumber(args[2]), 0
while left > 0 and size < BYTES do
  local before = at == '+' and '+' or '(' .. at
  local found = redis.call('XREVRANGE', keys[1], before, '-', 'COUNT', math.min(left, PORTION))
  if #found == 0 then
    break
  end
  for _, entry in ipairs(found) do
    size = size + #(entry[2][2] or '')
  end
  at = found[#found][1]
  left = left - #found
end
return { at, tonumber(args[2]) - left }

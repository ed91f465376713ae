-- keys: handled   args: group, then '<incarnation> <name>' of a sender and a sequence for each message
-- says of each message whether one of this sender and sequence was handled lately: 1 or 0
as_hash(keys[1])
local time, senders, found = now(), {}, {}
for at = 2, #args, 2 do
  local intervals = senders[args[at]]
  if not intervals then
    intervals = {}
    local text = redis.call('HGET', keys[1], args[1] .. ' ' .. args[at]) or ''
    local kept = tonumber(string.match(text, '^(%d+)') or '0')
    for first, last, began in string.gmatch(text, '(%d+)%-(%d+)@(%d+)') do
      if tonumber(began) > time - kept - kept / 8 then
        intervals[#intervals + 1] = { tonumber(first), tonumber(last) }
      end
    end
    senders[args[at]] = intervals
  end
  local sequence, is_handled = tonumber(args[at + 1]), 0
  for _, one in ipairs(intervals) do
    if one[1] <= sequence and sequence <= one[2] then
      is_handled = 1
    end
  end
  found[#found + 1] = is_handled
end
return found

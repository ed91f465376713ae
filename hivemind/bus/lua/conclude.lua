-- keys: stream, producers, retries, order, handled   args: group, instance, incarnation, consumer, how long is remembered
-- what was handled (ms, 0: not at all), how many messages; id and key (or '') of each; then sender and sequences of
-- those that can be remembered, as '<incarnation> <name>' and '<first>-<last> ...'
-- acknowledges messages, and says whose keys are in the reader's hands no more, and what was handled
local INTERVALS = 256 -- of one sender that are remembered
local refused = fenced(keys[2], args[1], args[2], args[3])
if refused then
  return refused
end
as_kind(keys[3], 'zset')
as_hash(keys[4])
local acknowledged, at = 0, 7
local is_parked = redis.call('EXISTS', keys[3]) == 1
for _ = 1, tonumber(args[6]) do
  if redis.call('XACK', keys[1], args[1], args[at]) == 1 then
    acknowledged = acknowledged + 1
    if is_parked then
      redis.call('ZREM', keys[3], args[1] .. ' ' .. args[at])
    end
    if args[at + 1] ~= '' then
      lower(keys[4], args[1], args[at + 1], args[4])
    end
  end
  at = at + 2
end
local window = tonumber(args[5])
if window == 0 then
  return acknowledged
end
as_hash(keys[5])
local time = now()
local young, old = time - window / 8, time - window - window / 8
local function intervals_of(text)
  local found = {}
  for first, last, began in string.gmatch(text, '(%d+)%-(%d+)@(%d+)') do
    if tonumber(began) > old then
      found[#found + 1] = { tonumber(first), tonumber(last), tonumber(began) }
    end
  end
  return found
end
-- What follows on each other, and began lately, is one.
local function joined(intervals)
  table.sort(intervals, function(one, other)
    return one[1] < other[1]
  end)
  local found = {}
  for _, one in ipairs(intervals) do
    local before = found[#found]
    if before and one[1] <= before[2] + 1 and math.min(before[3], one[3]) > young then
      before[2], before[3] = math.max(before[2], one[2]), math.min(before[3], one[3])
    else
      found[#found + 1] = one
    end
  end
  return found
end
local function as_text(intervals)
  local parts = { string.format('%.0f', window) }
  for place = math.max(1, #intervals - INTERVALS + 1), #intervals do
    parts[#parts + 1] = string.format('%.0f-%.0f@%.0f', unpack(intervals[place]))
  end
  return table.concat(parts, ' ')
end
-- Forgets senders of whom nothing is remembered any more: a few are looked at whenever one comes.
local function tidy()
  for _, field in ipairs(redis.call('HRANDFIELD', keys[5], 5) or {}) do
    local text = redis.call('HGET', keys[5], field) or ''
    local kept, is_needed = tonumber(string.match(text, '^(%d+)') or '0'), false
    for began in string.gmatch(text, '@(%d+)') do
      is_needed = is_needed or tonumber(began) > time - kept - kept / 8
    end
    if not is_needed then
      redis.call('HDEL', keys[5], field)
    end
  end
end
for place = at, #args, 2 do
  local field = args[1] .. ' ' .. args[place]
  local stored = redis.call('HGET', keys[5], field)
  if not stored then
    tidy()
  end
  local intervals = intervals_of(stored or '')
  for first, last in string.gmatch(args[place + 1], '(%d+)%-(%d+)') do
    intervals[#intervals + 1] = { tonumber(first), tonumber(last), time }
  end
  redis.call('HSET', keys[5], field, as_text(joined(intervals)))
end
if redis.call('PTTL', keys[5]) < window then
  redis.call('PEXPIRE', keys[5], string.format('%.0f', window * 1.25))
end
return acknowledged

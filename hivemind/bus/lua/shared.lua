-- what several functions use
local GREATEST = 9007199254740992 -- what no incarnation can be is garbage
-- removes what somebody else wrote in the place of a key of ours
local function as_kind(key, wanted)
  local kind = redis.call('TYPE', key).ok
  if kind ~= wanted and kind ~= 'none' then
    redis.call('DEL', key)
  end
end
local function as_hash(key)
  as_kind(key, 'hash')
end
-- an error if somebody took over from this life, else nil
local function fenced(producers, group, instance, incarnation)
  as_hash(producers)
  local fence = tonumber(redis.call('HGET', producers, 'taken:' .. group .. ':' .. instance) or '0') or 0
  if fence >= tonumber(incarnation) and fence < GREATEST then
    return redis.error_reply('FENCED ' .. string.format('%.0f', fence))
  end
end
-- Whether a life has renewed its lease since somebody saw when that ends ('': he did not look), and nobody has taken over from
-- it yet. node: the key of its instance.
local function has_spoken(producers, group, instance, incarnation, node, seen)
  return seen ~= '' and redis.call('PEXPIRETIME', node) ~= tonumber(seen)
    and fenced(producers, group, instance, incarnation) == nil
end
-- whether a consumer is of a life that was taken over from
local function is_fenced(producers, group, consumer)
  local instance, incarnation = string.match(consumer, '^(.+)%.e(%d+)$')
  return not instance or fenced(producers, group, instance, incarnation) ~= nil
end
-- Whether the instance of a responder is in the life that the responder says. While the slot of a Cluster moves nobody
-- knows of a key that has moved: then it lives.
local function is_alive(before, responder)
  local instance, life = string.match(responder, '^(.*)%.e(%d+)$')
  if not life then
    return false
  end
  local held = redis.pcall('HGET', before .. instance, 'incarnation')
  return held == life or type(held) == 'table' and not string.find(held.err, 'WRONGTYPE', 1, true)
end
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
-- The score of a message that waits `delay` ms for its next try: when it is due, and behind the point for how long it was
-- to wait, as a logarithm.
local function score_of(delay)
  local length = math.min(4095, math.max(1, math.ceil(128 * math.log(delay + 1) / math.log(2))))
  return string.format('%.12f', now() + delay + length / 4096)
end
-- In how many ms a message with that score is due, as text; '-1' if it was not parked. Never more than it was to wait, if
-- the clock was set back. jumps: when the clock was set forward, and by how much, in ms: '<when>+<by> ...'
local function wait_of(score, jumps)
  if not score then
    return '-1'
  end
  local due, length = math.floor(tonumber(score)), (tonumber(score) % 1) * 4096
  local delay = length > 0 and math.ceil(2 ^ (length / 128)) or GREATEST -- an older version did not say
  for at, by in string.gmatch(jumps or '', '(%d+)%+(%d+)') do
    if length > 0 and due - delay < tonumber(at) then
      due = due + tonumber(by)
    end
  end
  return string.format('%.0f', math.max(0, math.min(due - now(), delay)))
end
-- the value in a message by which it is ordered, as text; nil if it has none
local function key_of(fields, path)
  if fields[1] ~= 'b' then
    return nil
  end
  local ok, value = pcall(cjson.decode, fields[2])
  if not ok or type(value) ~= 'table' then
    return nil
  end
  if value.v ~= nil then
    value = value.d
  end
  for part in string.gmatch(path, '[^.]+') do
    if type(value) ~= 'table' then
      return nil
    end
    value = value[part]
  end
  local kind = type(value)
  local text = kind == 'string' and value or kind == 'number' and string.format('%.17g', value)
    or kind == 'boolean' and tostring(value) or ''
  if text == '' then
    return nil
  end
  return #text > 200 and redis.sha1hex(text) or text
end
-- how many messages of a key are in whose hands; 0 where none are
local function in_hands(order, group, key)
  local count, consumer = string.match(redis.call('HGET', order, 'k' .. group .. ' ' .. key) or '', '^(%d+) (.+)$')
  return tonumber(count or '0'), consumer
end
-- a message of a key is in the hands of a consumer no more
local function lower(order, group, key, consumer)
  local count, owner = in_hands(order, group, key)
  if owner ~= consumer then
    return
  end
  if count > 1 then
    redis.call('HSET', order, 'k' .. group .. ' ' .. key, string.format('%.0f', count - 1) .. ' ' .. owner)
  else
    redis.call('HDEL', order, 'k' .. group .. ' ' .. key)
  end
end

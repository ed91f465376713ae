-- keys: responders of a name   args: what stands before the key of an instance, what stands before a responder's
-- channel, members to put before those of the request, the request
-- gives a request to the responder with the fewest in hand, among equals to who waits longest; returns who that is, 0:
-- there is nobody, or 1: those who are there cannot be reached just now
-- A responder is there while it listens on its own channel and its lease lives; patterns count for nothing there.
local HAND = 68719476736 -- a score is the requests in hand, times this, and microseconds below it
if redis.set_repl then
  redis.set_repl(redis.REPL_NONE) -- counts: responders put them right themselves
end
local time = redis.call('TIME')
local rank, away = 0, 0
while true do
  local one = redis.pcall('ZRANGE', keys[1], rank, rank, 'WITHSCORES')
  if one.err or #one == 0 then
    return away
  end
  local member = one[1]
  local instance, life = string.match(member, '^(.*)%.e(%d+)$')
  local held = instance and redis.pcall('HGET', args[1] .. instance, 'incarnation')
  if held ~= life or not life then
    redis.call('ZREM', keys[1], member)
  elseif redis.call('PUBSUB', 'NUMSUB', args[2] .. member)[2] > 0 then
    local hand = math.max(0, math.floor(tonumber(one[2]) / HAND)) + 1
    local score = hand * HAND + (time[1] * 1000000 + time[2]) % HAND
    redis.call('ZADD', keys[1], string.format('%.0f', score), member)
    local at = string.format('{"at":%s.%06d,', time[1], time[2])
    redis.call('PUBLISH', args[2] .. member, at .. args[3] .. ',' .. string.sub(args[4], 2))
    return member
  else
    rank, away = rank + 1, 1
  end
end

-- keys: responders of a name   args: what stands before the key of an instance, what stands before a responder's
-- channel, inbox of who asks, members to put before those of the request, its number, the request
-- gives a request to the responder with the fewest in hand, among equals to who waits longest; returns who that is, or
-- says in the inbox that there is nobody: 'away' is 1 where somebody lives and cannot be reached just now
-- A responder is there while it listens on its own channel and its lease lives; patterns count for nothing there. Whether
-- the lease of one that listens lives is asked only if it has a request in hand: a process that stands still has.
local HAND = 68719476736 -- a score is the requests in hand, times this, and microseconds below it
local call = redis.call
if redis.set_repl then
  redis.set_repl(redis.REPL_NONE) -- counts: responders put them right themselves
end
local rank, away = 0, 0
while true do
  local one = redis.pcall('ZRANGE', keys[1], rank, rank, 'WITHSCORES')
  local member = not one.err and one[1]
  if not member then
    call('PUBLISH', args[3], '{"k":"nobody","q":' .. args[5] .. ',"away":' .. away .. ',' .. args[4] .. '}')
    return away
  end
  local hand, channel = math.floor(one[2] / HAND), args[2] .. member
  local listens = call('PUBSUB', 'NUMSUB', channel)[2] > 0
  local lives = listens and hand <= 0
  if not lives then
    local instance, life = string.match(member, '^(.*)%.e(%d+)$')
    lives = life and redis.pcall('HGET', args[1] .. instance, 'incarnation') == life
  end
  if not lives then
    call('ZREM', keys[1], member)
  elseif listens then
    local time = call('TIME')
    local seconds, micros = time[1], time[2]
    local score = (math.max(0, hand) + 1) * HAND + (seconds * 1000000 + micros) % HAND
    call('ZADD', keys[1], string.format('%.0f', score), member)
    local at = '{"at":' .. seconds .. '.' .. string.sub(1000000 + micros, 2) .. ','
    call('PUBLISH', channel, at .. args[4] .. ',' .. string.sub(args[6], 2))
    return member
  else
    rank, away = rank + 1, 1
  end
end

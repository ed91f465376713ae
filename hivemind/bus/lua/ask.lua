-- keys: responders of a name   args: what stands before the key of an instance, what stands before a responder's
-- channel, inbox of who asks; then of each request: members to put before its own, its number, the request
-- gives each request to the responder with the fewest in hand, among equals to who waits longest; returns who got the
-- last, or says in the inbox that there is nobody: 'away' is 1 where somebody lives and cannot be reached just now, 2 where
-- who left said that another follows (a mark at the end of the list, with when that is over, in ms)
-- A responder is there while it listens on its own channel and its lease lives; patterns count for nothing there. Whether
-- the lease of one that listens lives is asked only if it has a request in hand: a process that stands still has.
local HAND = 68719476736 -- a score is the requests in hand, times this, and microseconds below it
local call = redis.call
if redis.set_repl then
  redis.set_repl(redis.REPL_NONE) -- counts: responders put them right themselves
end
local rank, away = 0, 0
local there, coming = {}, nil -- those that are there, as far as one has looked; who is next on the list, false: nobody
local function is_there(one)
  local hand = math.floor(one.score / HAND)
  one.hand, one.channel = math.max(0, hand), args[2] .. one.member
  local listens = call('PUBSUB', 'NUMSUB', one.channel)[2] > 0
  local lives = listens and hand <= 0
  if not lives then
    lives = is_alive(args[1], one.member)
  end
  local comes = not lives and tonumber(string.match(one.member, '^coming%.(%d+)$'))
  if comes and now() < comes then
    rank, away = rank + 1, 2
    return false
  end
  if not lives then
    call('ZREM', keys[1], one.member)
    return false
  end
  rank = rank + 1
  if not listens then
    away = math.max(away, 1)
  end
  return listens
end
local function least()
  local best = there[1]
  for at = 2, #there do
    if there[at].score < best.score then
      best = there[at]
    end
  end
  while true do
    if coming == nil then
      local one = redis.pcall('ZRANGE', keys[1], rank, rank, 'WITHSCORES')
      coming = not one.err and one[1] and {member = one[1], score = tonumber(one[2])} or false
    end
    local one = coming
    if not one or best and best.score <= one.score then
      return best
    end
    coming = nil
    if is_there(one) then
      there[#there + 1] = one
      return one
    end
  end
end
local seconds, micros, before, last
for at = 4, #args, 3 do
  local one = least()
  if one then
    if not before then
      local time = call('TIME')
      seconds, micros = time[1], time[2]
      micros = seconds * 1000000 + micros
      before = '{"at":' .. seconds .. '.' .. string.sub(1000000 + time[2], 2) .. ','
    end
    one.hand = one.hand + 1
    one.score = one.hand * HAND + (micros + at) % HAND -- what is given later waits less long
    call('PUBLISH', one.channel, before .. args[at] .. ',' .. string.sub(args[at + 2], 2))
    last = one.member
  else
    call('PUBLISH', args[3], '{"k":"nobody","q":' .. args[at + 1] .. ',"away":' .. away .. ',' .. args[at] .. '}')
  end
end
for _, one in ipairs(there) do
  call('ZADD', keys[1], string.format('%.0f', one.score), one.member)
end
return last or away

-- keys: responders of a name   args: a responder, how many requests it has no more
-- counts requests that are answered
if redis.set_repl then
  redis.set_repl(redis.REPL_NONE)
end
local score = redis.pcall('ZSCORE', keys[1], args[1])
if type(score) ~= 'string' then
  return 0
end
local HAND = 68719476736
local hand = math.floor(tonumber(score) / HAND)
local gone = math.min(hand, tonumber(args[2]))
redis.call('ZADD', keys[1], string.format('%.0f', tonumber(score) - gone * HAND), args[1])
return hand - gone

-- keys: stream, producers, retries   args: group, instance, incarnation, consumer, how many tries of each were
-- counted when the reader last heard (0: it does not know), ids...
-- begins one more try of messages that are pending; returns for each {id, tries, fields}; fields are false where the
-- entry itself was removed, and then it is acknowledged: nobody can handle it any more. Who asks again, because the
-- answer was lost, begins the same try
local refused = fenced(keys[2], args[1], args[2], args[3])
if refused then
  return refused
end
as_kind(keys[3], 'zset')
local found, known = {}, tonumber(args[5])
for at = 6, #args do
  local id = args[at]
  local held = redis.call('XPENDING', keys[1], args[1], id, id, 1)[1]
  if held and held[2] == args[4] then
    local tries = (known > 0 and math.min(held[4], known) or held[4]) + 1
    local entry = redis.call('XRANGE', keys[1], id, id)[1]
    redis.call('ZREM', keys[3], args[1] .. ' ' .. id)
    if entry and entry[2][3] == 'g' and entry[2][4] ~= args[1] then
      redis.call('XACK', keys[1], args[1], id) -- a replayed letter of another group
    elseif entry then
      redis.call('XCLAIM', keys[1], args[1], args[4], 0, id, 'RETRYCOUNT', tries, 'JUSTID')
      found[#found + 1] = { id, tries, entry[2] }
    else
      redis.call('XACK', keys[1], args[1], id)
      found[#found + 1] = { id, tries, false }
    end
  end
end
return found

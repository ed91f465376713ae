-- keys: stream, retries   args: group, consumer, the entry behind which it begins, most, how the clock was set
-- says what a reader holds; other than XREADGROUP with an id it counts no delivery. Returns for each {id, tries, in how
-- many ms it is due or -1: it was not parked, fields or false: the stream has lost it}
as_kind(keys[2], 'zset')
local found, most = {}, tonumber(args[4])
for _, held in ipairs(redis.call('XPENDING', keys[1], args[1], args[3], '+', most + 1, args[2])) do
  local id = held[1]
  if id ~= args[3] and #found < most then
    local due = redis.call('ZSCORE', keys[2], args[1] .. ' ' .. id)
    local entry = redis.call('XRANGE', keys[1], id, id)[1]
    found[#found + 1] = { id, held[4], wait_of(due, args[5]), entry and entry[2] or false }
  end
end
return found

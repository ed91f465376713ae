-- keys: a duty   args: who would have it, for how long (ms), whose time we saw stand still, when that ended then
-- returns {1} to who has it from now on, else {0, who has it, when his time ends by Redis's clock}
as_kind(keys[1], 'string')
local holder, ends = redis.call('GET', keys[1]), redis.call('PEXPIRETIME', keys[1])
if holder and holder ~= args[1] and (holder ~= args[3] or ends ~= tonumber(args[4])) then
  return { 0, holder, ends }
end
redis.call('SET', keys[1], args[1], 'PX', args[2])
return { 1 }

-- keys: the mark of a move   args: what it is now ('': there is none), what it becomes (''), for how long (ms; 0: ever)
-- returns 1 if that was so
as_kind(keys[1], 'string')
if (redis.call('GET', keys[1]) or '') ~= args[1] then
  return 0
end
if args[2] == '' then
  redis.call('DEL', keys[1])
elseif args[3] == '0' then
  redis.call('SET', keys[1], args[2])
else
  redis.call('SET', keys[1], args[2], 'PX', args[3])
end
return 1

-- keys: stream, dead letters   args: for each letter its id, the group that shall have its message again ('': every
-- group), and the message
-- appends messages of dead letters once more and removes the letters; returns for each the new entry's id, 0 where the
-- letter is not there (any more), or -1 where the group does not read the topic: then the letter stays
local reads = { [''] = true }
if redis.call('TYPE', keys[1]).ok == 'stream' then
  for _, listed in ipairs(redis.call('XINFO', 'GROUPS', keys[1])) do
    for at = 1, #listed, 2 do
      if listed[at] == 'name' then
        reads[listed[at + 1]] = true
      end
    end
  end
end
local done = {}
for at = 1, #args, 3 do
  local id, group = args[at], args[at + 1]
  if #redis.call('XRANGE', keys[2], id, id) == 0 then
    done[#done + 1] = 0
  elseif not reads[group] then
    done[#done + 1] = -1
  else
    done[#done + 1] = redis.call('XADD', keys[1], '*', 'b', args[at + 2], 'g', group)
    redis.call('XDEL', keys[2], id)
  end
end
return done

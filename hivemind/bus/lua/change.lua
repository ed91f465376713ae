-- keys: hash   args: field, what it has to be, what it becomes ('': it is removed), and so on
-- changes fields that are what they were when somebody looked; returns how many
if redis.call('TYPE', keys[1]).ok ~= 'hash' then
  return 0
end
local changed = 0
for at = 1, #args, 3 do
  if redis.call('HGET', keys[1], args[at]) == args[at + 1] then
    if args[at + 2] == '' then
      redis.call('HDEL', keys[1], args[at])
    else
      redis.call('HSET', keys[1], args[at], args[at + 2])
    end
    changed = changed + 1
  end
end
return changed

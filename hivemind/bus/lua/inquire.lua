-- keys: responders of a name   args: what stands before the key of an instance, what stands before a responder's
-- channel, a question
-- asks all responders of a name; returns those that live, whether or not they can be reached just now
local living = {}
local found = redis.pcall('ZRANGE', keys[1], 0, -1)
if found.err then
  return living
end
for _, member in ipairs(found) do
  local instance, life = string.match(member, '^(.*)%.e(%d+)$')
  if life and redis.pcall('HGET', args[1] .. instance, 'incarnation') == life then
    living[#living + 1] = member
    redis.call('PUBLISH', args[2] .. member, args[3])
  end
end
return living

-- keys: responders of a name, since when there is such a list   args: what stands before the key of an instance, what
-- stands before a responder's channel, a question
-- asks all responders of a name; returns those that live, whether or not they can be reached just now; "" stands for those
-- who may not be back yet, in the first seconds of a list
local YOUNG = 3000 -- ms in which all who live are back after Redis lost its data
local living = {}
local found = redis.pcall('ZRANGE', keys[1], 0, -1)
if found.err then
  return living
end
local since = redis.pcall('GET', keys[2])
if type(since) == 'string' then
  local age = now() - (tonumber(since) or 0)
  if age >= 0 and age < YOUNG then
    living[1] = ''
  end
elseif #found == 0 then
  living[1] = ''
end
for _, member in ipairs(found) do
  if is_alive(args[1], member) then
    living[#living + 1] = member
    redis.call('PUBLISH', args[2] .. member, args[3])
  end
end
return living

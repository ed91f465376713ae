-- keys: one that is never there, node hashes   args: the lease of each (ms)
-- returns the time (ms); then of each instance that has not beaten for half its lease: its place in args, and when its
-- lease ends (ms), or a negative number. It writes to ask whether Redis takes beats at all: one whose disk is full answers
-- questions and refuses beats.
redis.call('PEXPIRE', keys[1], 1)
local time = now()
local found = {time}
for at, lease in ipairs(args) do
  local expires = redis.call('PEXPIRETIME', keys[at + 1])
  local left = expires - time
  if left < lease / 2 or left > lease + 1000 then
    found[#found + 1] = at
    found[#found + 1] = expires
  end
end
return found

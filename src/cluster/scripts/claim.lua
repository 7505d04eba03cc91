-- Whether news of who left, which have waited, are to be told now. If so, no return cancels them any more, and they stay written down
-- until they are told.
--
-- KEYS  state, members, held
-- ARGV  what ('.' or '-USER'), name of the news, who tells them, milliseconds for which news are remembered
-- Answers 1: yes; 0: no, whoever it was has come back, or another node tells them; 2: nothing is known of them, and nobody is there
local held, what, news = KEYS[3], ARGV[1], ARGV[2]
local field = '+' .. news .. '/' .. what
local known = redis.call('HGET', held, what)
if known == news then
    redis.call('HDEL', held, what)
    redis.call('HSET', held, field, ARGV[3])
    redis.call('PEXPIRE', held, ARGV[4])
    return 1
end
-- asked for the second time, as the answer was lost
local teller = redis.call('HGET', held, field)
if teller then
    return teller == ARGV[3] and 1 or 0
end
if known then
    return 0
end
local is_there
if what == '.' then
    is_there = redis.call('EXISTS', KEYS[1]) == 1
else
    is_there = redis.call('HEXISTS', KEYS[2], string.sub(what, 2)) == 1
end
return is_there and 0 or 2

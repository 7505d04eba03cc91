-- Whether news of who left, which have waited, are to be told now.
--
-- KEYS  state, members, held
-- ARGV  what ('.' or '-USER'), name of the news
-- Answers 1: yes; 0: no, whoever it was has come back; 2: nothing is known of them, and nobody is there
local known = redis.call('HGET', KEYS[3], ARGV[1])
if known == ARGV[2] then
    redis.call('HDEL', KEYS[3], ARGV[1])
    return 1
end
if known then
    return 0
end
local is_there
if ARGV[1] == '.' then
    is_there = redis.call('EXISTS', KEYS[1]) == 1
else
    is_there = redis.call('HEXISTS', KEYS[2], string.sub(ARGV[1], 2)) == 1
end
return is_there and 0 or 2

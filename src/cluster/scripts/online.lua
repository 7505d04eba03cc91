-- Whether a user is there, for those who watch him. Told only if that is news.
--
-- KEYS  state of the watchers' channel, online
-- ARGV  node, topic, publish command, 1 or 0
-- Answers {sequence or false, subscriptions}
local state, online = KEYS[1], KEYS[2]

local total = tonumber(redis.call('HGET', state, 'total') or 0)
local is_news
if ARGV[4] == '1' then
    is_news = redis.call('SETNX', online, '1') == 1
else
    is_news = redis.call('DEL', online) == 1
end
if total <= 0 or not is_news then
    return {false, total}
end
local sequence = redis.call('HINCRBY', state, 'sequence', 1)
redis.call(ARGV[3], ARGV[2], '1^' .. string.format('%.0f', sequence) .. ' ' .. ARGV[1] .. '\n' .. ARGV[4])
return {sequence, total}

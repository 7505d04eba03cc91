-- Tells a large channel how many subscriptions there are, unless somebody else has done it lately.
--
-- KEYS  state
-- ARGV  node, topic, publish command
-- Answers {sequence, subscriptions}; {false, 0} if it was told since, {false, subscriptions} if it is to be told later
local state = KEYS[1]

local total = tonumber(redis.call('HGET', state, 'total') or 0)
if total <= 0 or tonumber(redis.call('HGET', state, 'told of') or 0) == total then
    return {false, 0}
end
local now = tonumber(redis.call('TIME')[1])
local known = redis.call('HMGET', state, 'told', 'doubt')
-- of either sign: the clock may have been set back
if math.abs(now - tonumber(known[1] or 0)) < 5 or tonumber(known[2] or 0) > now * 1000 then
    return {false, total}
end
redis.call('HSET', state, 'told', now, 'told of', total)
local sequence = redis.call('HINCRBY', state, 'sequence', 1)
redis.call(ARGV[3], ARGV[2], '1#' .. string.format('%.0f', sequence) .. ' ' .. ARGV[1] .. '\n' .. total)
return {sequence, total}

-- A sign of life.
--
-- KEYS  nodes, what they say of themselves
-- ARGV  node, milliseconds after which a node is dead, whether this is the node's first (1 or 0), what it says of itself
-- Answers {was forgotten (1 or 0), nodes alive, dead node, dead node, ...}
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local last = redis.call('ZSCORE', KEYS[1], ARGV[1])
if ARGV[3] == '0' and (not last or now - tonumber(last) > tonumber(ARGV[2])) then
    return {'1', '0'}
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
local oldest = string.format('%.0f', now - tonumber(ARGV[2]))
local answer = {'0', tostring(redis.call('ZCOUNT', KEYS[1], '(' .. oldest, '+inf'))}
local dead = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', oldest, 'LIMIT', 0, 16)
for _, node in ipairs(dead) do
    answer[#answer + 1] = node
end
return answer

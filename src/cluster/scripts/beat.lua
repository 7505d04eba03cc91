-- A sign of life.
--
-- KEYS  nodes, what they say of themselves, who takes away what dead ones have
-- ARGV  node, milliseconds after which a node is dead, whether this is the node's first (1 or 0), what it says of itself,
--       whether it will take away what dead nodes have (1 or 0)
-- Answers {was forgotten (1 or 0), nodes alive, name of the memory of this Redis, dead node, dead node, ...}
--
-- What a dead node has is taken away by one that is alive: by who learns of it first, until it gives no more signs of life itself.
-- A node that somebody begins to take away has its time below zero: late as it may be, one that nobody has begun with goes on.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
-- until Redis loses what it has
redis.call('HSETNX', KEYS[2], '', time[1] .. '.' .. time[2])
local memory = redis.call('HGET', KEYS[2], '')
local last = redis.call('ZSCORE', KEYS[1], ARGV[1])
if ARGV[3] == '0' and (not last or tonumber(last) < 0) then
    return {'1', '0', memory}
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
local oldest = string.format('%.0f', now - tonumber(ARGV[2]))
local answer = {'0', tostring(redis.call('ZCOUNT', KEYS[1], '(' .. oldest, '+inf')), memory}
if ARGV[5] == '0' then
    return answer
end
local dead = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', oldest, 'LIMIT', 0, 16)
for _, node in ipairs(dead) do
    local sweeper, till = string.match(redis.call('HGET', KEYS[3], node) or '', '^(%S+) (%d+)$')
    if not sweeper or sweeper == ARGV[1] or tonumber(till) <= now then
        redis.call('HSET', KEYS[3], node, ARGV[1] .. ' ' .. string.format('%.0f', now + tonumber(ARGV[2])))
        answer[#answer + 1] = node
    end
    local score = tonumber(redis.call('ZSCORE', KEYS[1], node))
    redis.call('ZADD', KEYS[1], string.format('%.0f', -math.abs(score)), node)
end
return answer

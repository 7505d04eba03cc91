-- A sign of life.
--
-- KEYS  nodes, what they say of themselves, name of this life of Redis, who takes away what dead ones have
-- ARGV  node, milliseconds after which a node is dead, whether this is the node's first (1 or 0), what it says of itself,
--       whether it will take away what dead nodes have (1 or 0), the life of Redis that the node knows or '', a new name for a life
-- Answers {was forgotten (1 or 0), life of Redis, nodes alive, dead node, dead node, ...}
--
-- What a dead node has is taken away by one that is alive: by who learns of it first, until it gives no more signs of life itself.
-- A node that somebody begins to take away has its time below zero: late as it may be, one that nobody has begun with goes on.
-- Who finds its own last sign of life that old has been away, or the clock has leapt: the others have time until its next one.
-- In another life of Redis nobody is known because Redis came back empty, not because others took him for dead: he goes on.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local last = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('SETNX', KEYS[3], ARGV[7])
local life = redis.call('GET', KEYS[3])
local is_same = ARGV[6] == '' or ARGV[6] == life
if ARGV[3] == '0' and is_same and (not last or tonumber(last) < 0) then
    return {'1', life, '0'}
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
local oldest = string.format('%.0f', now - tonumber(ARGV[2]))
local was_away = last and tonumber(last) <= tonumber(oldest)
local answer = {'0', life, tostring(redis.call('ZCOUNT', KEYS[1], '(' .. oldest, '+inf'))}
if ARGV[5] == '0' or was_away then
    return answer
end
local dead = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', oldest, 'LIMIT', 0, 16)
for _, node in ipairs(dead) do
    local sweeper, till = string.match(redis.call('HGET', KEYS[4], node) or '', '^(%S+) (%d+)$')
    if not sweeper or sweeper == ARGV[1] or tonumber(till) <= now then
        redis.call('HSET', KEYS[4], node, ARGV[1] .. ' ' .. string.format('%.0f', now + tonumber(ARGV[2])))
        answer[#answer + 1] = node
    end
    local score = tonumber(redis.call('ZSCORE', KEYS[1], node))
    redis.call('ZADD', KEYS[1], string.format('%.0f', -math.abs(score)), node)
end
return answer

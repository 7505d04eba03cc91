-- The nodes there are, for whoever isn't one. One that is being taken away has its time below zero.
--
-- KEYS  nodes, what they say of themselves
-- Answers {node, milliseconds since its last sign of life, what it says of itself, node, ...}
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local answer = {}
local nodes = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #nodes, 2 do
    answer[#answer + 1] = nodes[i]
    answer[#answer + 1] = string.format('%.0f', now - math.abs(tonumber(nodes[i + 1])))
    answer[#answer + 1] = redis.call('HGET', KEYS[2], nodes[i]) or ''
end
return answer

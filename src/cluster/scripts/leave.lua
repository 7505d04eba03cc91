-- One subscription less, of one node; the counterpart of join.lua.
--
-- KEYS  state, connections of members, members
-- ARGV  node, topic, publish command, user id or '', tell the count (1 or 0)
-- Answers {sequence, subscriptions, has left (1 or 0)}; {false, 0, 0} if the node has none.
local state, connections, members = KEYS[1], KEYS[2], KEYS[3]
local node, topic, publish, user = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

if redis.call('HEXISTS', state, 'of|' .. node) == 0 then
    return {false, 0, 0}
end
if redis.call('HINCRBY', state, 'of|' .. node, -1) <= 0 then
    redis.call('HDEL', state, 'of|' .. node)
end
local total = redis.call('HINCRBY', state, 'total', -1)

local has_left = 0
local own = node .. '|' .. user
if user ~= '' and redis.call('HEXISTS', connections, own) == 1 and redis.call('HINCRBY', connections, own, -1) <= 0 then
    redis.call('HDEL', connections, own)
    if redis.call('HINCRBY', connections, '|' .. user, -1) <= 0 then
        redis.call('HDEL', connections, '|' .. user)
        redis.call('HDEL', members, user)
        has_left = 1
        local sequence = redis.call('HINCRBY', state, 'sequence', 1)
        redis.call(publish, topic, '1-' .. string.format('%.0f', sequence) .. ' ' .. node .. '\n' .. user)
    end
end
local sequence = redis.call('HGET', state, 'sequence')
if total <= 0 then
    redis.call('DEL', state, connections, members)
elseif ARGV[5] == '1' then
    sequence = redis.call('HINCRBY', state, 'sequence', 1)
    redis.call(publish, topic, '1#' .. string.format('%.0f', sequence) .. ' ' .. node .. '\n' .. total)
end
return {sequence, total, has_left}

-- One subscription more, of one node. On presence channels it is a member's: whoever has no other connection in the whole
-- cluster is new, and everybody is told in the same step.
--
-- KEYS  state, connections of members, members
-- ARGV  node, topic, publish command, user id or '', member, most members (0: no limit), tell the count (1 or 0), name all members (1 or 0)
-- Answers {'full'} or {'ok', sequence, subscriptions, is new member, cached ..., member, member, ...}
local state, connections, members = KEYS[1], KEYS[2], KEYS[3]
local node, topic, publish, user, member = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

if user ~= '' and redis.call('HEXISTS', members, user) == 0 then
    local most = tonumber(ARGV[6])
    if most > 0 and redis.call('HLEN', members) >= most then
        return {'full'}
    end
end

-- A channel begins to count at the time in microseconds: whatever it counted to before it was empty, that is more.
if redis.call('EXISTS', state) == 0 then
    local time = redis.call('TIME')
    redis.call('HSET', state, 'sequence', time[1] .. string.format('%06d', time[2]))
end
local total = redis.call('HINCRBY', state, 'total', 1)
redis.call('HINCRBY', state, 'of|' .. node, 1)

local is_new = 0
if user ~= '' then
    -- what a member said of itself last is what is shown
    redis.call('HSET', members, user, member)
    if redis.call('HINCRBY', connections, node .. '|' .. user, 1) == 1
        and redis.call('HINCRBY', connections, '|' .. user, 1) == 1 then
        is_new = 1
        local sequence = redis.call('HINCRBY', state, 'sequence', 1)
        redis.call(publish, topic, '1+' .. string.format('%.0f', sequence) .. ' ' .. node .. '\n' .. member)
    end
end
if ARGV[7] == '1' then
    local sequence = redis.call('HINCRBY', state, 'sequence', 1)
    redis.call(publish, topic, '1#' .. string.format('%.0f', sequence) .. ' ' .. node .. '\n' .. total)
end
local answer = {'ok', redis.call('HGET', state, 'sequence'), total, is_new}
if ARGV[8] == '1' then
    answer[5] = redis.call('HVALS', members)
end
return answer

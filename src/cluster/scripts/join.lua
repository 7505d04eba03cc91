-- One subscription more, of one node. On presence channels it is a member's: whoever has no other connection in the whole
-- cluster is new, and everybody is told in the same step.
--
-- KEYS  state, connections of members, members, cached, held, history, and of those who watch a user the state of his channel
-- ARGV  node, topic, publish command, user id or '', member, most members (0: no limit), tell the count (1 or 0),
--       what to name (0 nothing, 1 the cached event, 2 all members too), name of the news or '' if nobody wants to know,
--       milliseconds for which news are remembered, whether news of who left are held (1 or 0)
-- Answers {'full'} or {'ok', sequence, subscriptions, is new member, was told (0 no, 1 yes, 2 later), cancelled news of the channel,
-- cancelled news of the member, cached or false, milliseconds it is kept, members,
-- events so far, which life of the channel this is, milliseconds for which members may be listed who are gone (0: none; register.lua)}
local state, connections, members, cached, held = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local node, topic, publish, user, member = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

if user ~= '' and redis.call('HEXISTS', members, user) == 0 then
    local most = tonumber(ARGV[6])
    if most > 0 and redis.call('HLEN', members) >= most then
        return {'full'}
    end
end

local time = redis.call('TIME')
-- A channel begins to count at the time in microseconds: whatever it counted to before it was empty, that is more. Its events are counted
-- on from those that are remembered for nodes that Redis doesn't know of yet (publish.lua).
if redis.call('EXISTS', state) == 0 then
    local begin = time[1] .. string.format('%06d', time[2])
    local events = string.match(redis.call('LINDEX', KEYS[6], -1) or '', '^..%d+ (%d+)')
    redis.call('HSET', state, 'sequence', begin, 'life', begin, 'events', events or 0)
end
local total = redis.call('HINCRBY', state, 'total', 1)
redis.call('HINCRBY', state, 'of|' .. node, 1)

local function tell(kind, body)
    local sequence = redis.call('HINCRBY', state, 'sequence', 1)
    redis.call(publish, topic, '1' .. kind .. string.format('%.0f', sequence) .. ' ' .. node .. '\n' .. body)
end

-- The watched user's node tells that he came after it has let him in. Whoever joins in between would be told that he isn't there.
if KEYS[7] and redis.call('EXISTS', KEYS[7]) == 1 and redis.call('SETNX', cached, '1') == 1 and total > 1 then
    tell('^', '1')
end

local is_new = 0
if user ~= '' then
    -- what a member said of itself last is what is shown
    local is_other = redis.call('HGET', members, user) ~= member
    redis.call('HSET', members, user, member)
    if redis.call('HINCRBY', connections, node .. '|' .. user, 1) == 1
        and redis.call('HINCRBY', connections, '|' .. user, 1) == 1 then
        -- Who is in doubt was told of before Redis lost everything; nodes that took him for gone hear that he isn't (register.lua).
        is_new = 1 - redis.call('HEXISTS', connections, '?|' .. user)
        tell('+', member)
    elseif is_other then
        tell('=', member)
    end
end

-- The joiner is told the number too, so what it has missed ends here.
local known = redis.call('HMGET', state, 'sequence', 'events', 'life', 'doubt')
local joined = known[1]
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local doubt = tonumber(known[4] or 0)
local is_in_doubt = doubt > now_ms
if doubt > 0 then
    doubt = math.max(doubt - now_ms, 1)
end
local told = 0
if ARGV[7] == '1' then
    local now = tonumber(time[1])
    told = 2
    -- large channels are told now and then; while it is in doubt who is there, nobody is
    if not is_in_doubt and (total <= 100 or math.abs(now - tonumber(redis.call('HGET', state, 'told') or 0)) >= 5) then
        told = 1
        redis.call('HSET', state, 'told', now, 'told of', total)
        tell('#', total)
    end
end

-- What happened is written down until the node has told it, unless it is a return.
local cancels_channel, cancels_member, name = 0, 0, ARGV[9]
if name ~= '' then
    local news = {}
    if total == 1 then
        cancels_channel = ARGV[11] == '1' and redis.call('HDEL', held, '.') or 0
        if cancels_channel == 0 then
            news = {'+' .. name .. '/*', node}
        end
    end
    if is_new == 1 then
        cancels_member = ARGV[11] == '1' and redis.call('HDEL', held, '-' .. user) or 0
        if cancels_member == 0 then
            news[#news + 1] = '+' .. name .. '/+' .. user
            news[#news + 1] = node
        end
    end
    if #news > 0 then
        redis.call('HSET', held, unpack(news))
        redis.call('PEXPIRE', held, ARGV[10])
    end
end

local kept, kept_ms, list = false, 0, {}
if ARGV[8] ~= '0' then
    kept = redis.call('GET', cached)
    kept_ms = redis.call('PTTL', cached)
end
if ARGV[8] == '2' then
    list = redis.call('HVALS', members)
end
return {
    'ok', joined, total, is_new, told, cancels_channel, cancels_member, kept, kept_ms, list,
    known[2] or '0', known[3] or '0', doubt
}

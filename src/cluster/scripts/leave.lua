-- One subscription less, of one node; the counterpart of join.lua.
--
-- KEYS  state, connections of members, members, held, history
-- ARGV  node, topic, publish command, user id or '', tell the count (1 or 0), name of the news or '' if nobody wants to know,
--       milliseconds for which news are remembered, whether they are held (1 or 0)
-- Answers {sequence, subscriptions, has left (1 or 0), was told (0 no, 1 yes, 2 later)}; {false, 0, 0, 0} if the node has none.
local state, connections, members, held = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local node, topic, publish, user, news = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[6]

if redis.call('HEXISTS', state, 'of|' .. node) == 0 then
    return {false, 0, 0, 0}
end
if redis.call('HINCRBY', state, 'of|' .. node, -1) <= 0 then
    redis.call('HDEL', state, 'of|' .. node)
end
local total = redis.call('HINCRBY', state, 'total', -1)

local function tell(kind, body)
    local sequence = redis.call('HINCRBY', state, 'sequence', 1)
    redis.call(publish, topic, '1' .. kind .. string.format('%.0f', sequence) .. ' ' .. node .. '\n' .. body)
end

-- Written down until the node has told it. What is held is called so that a return finds it.
local happened = {}
local function happens(what)
    if news ~= '' then
        local is_held = ARGV[8] == '1'
        happened[#happened + 1] = is_held and what or '+' .. news .. '/' .. what
        happened[#happened + 1] = is_held and news or node
    end
end

local has_left = 0
local own = node .. '|' .. user
if user ~= '' and redis.call('HEXISTS', connections, own) == 1 and redis.call('HINCRBY', connections, own, -1) <= 0 then
    redis.call('HDEL', connections, own)
    if redis.call('HINCRBY', connections, '|' .. user, -1) <= 0 then
        redis.call('HDEL', connections, '|' .. user)
        -- Redis has lost everything not long ago, and other nodes may not have said yet whom they have (register.lua).
        if redis.call('HEXISTS', connections, '?|' .. user) == 0 then
            redis.call('HDEL', members, user)
            has_left = 1
            happens('-' .. user)
            tell('-', user)
        end
    end
end

local told = 0
local sequence = redis.call('HGET', state, 'sequence')
if total <= 0 then
    redis.call('DEL', state, connections, members, KEYS[5])
    happens('.')
elseif ARGV[5] == '1' then
    local now = tonumber(redis.call('TIME')[1])
    told = 2
    local known = redis.call('HMGET', state, 'told', 'doubt')
    -- large channels are told now and then; while it is in doubt who is there, nobody is
    if tonumber(known[2] or 0) <= now * 1000 and (total <= 100 or math.abs(now - tonumber(known[1] or 0)) >= 5) then
        told = 1
        redis.call('HSET', state, 'told', now, 'told of', total)
        tell('#', total)
    end
    sequence = redis.call('HGET', state, 'sequence')
end
if #happened > 0 then
    redis.call('HSET', held, unpack(happened))
    redis.call('PEXPIRE', held, ARGV[7])
end
return {sequence, total, has_left, told}

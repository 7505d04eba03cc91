-- Makes what one node has on a channel exactly this: after Redis was away or came back empty, and with nothing at all for a node
-- that is dead. Members who come or go by it are told. What happens by it is written down as news of the node, and answered
-- with all others of that node that are written down.
--
-- Each life of a channel has a name. A node that has subscribers and finds another life than the one it knows, though nobody took it for
-- dead, knows by it that Redis has lost the channel: all of it, or what one master of a Redis Cluster or an empty replica should have had.
-- It then names everybody who was there before. They are in doubt (`?|USER` among the connections, the state's `doubt` says until when):
-- on the list, so that nobody is told that they leave and come back while other nodes are about to say that they have them. Who is then
-- still without a connection leaves.
--
-- KEYS  state, connections of members, members, cached, held, history
-- ARGV  node, topic, publish command, subscriptions, highest sequence the node has given out, tell the count (1 or 0),
--       name of the news or '' if nobody wants to know, milliseconds for which news are remembered,
--       sequence up to which the node has heard everything (0: nothing), events until then,
--       who tells the node's news (itself, or another one if it is dead), whether news of who left are held (1 or 0),
--       the life of the channel that the node knows (0: none), milliseconds for which members are in doubt,
--       the count that was told last or '', cached event or '', milliseconds it is kept,
--       how many members were there ('': the node doesn't know yet that Redis has lost the channel), for each: user id, member
--       then for each member of the node: user id, connections, member, whether he said so while Redis was away (1 or 0)
-- Answers {'lost'}: Redis has lost the channel, say who was there; or
-- {sequence or false, subscriptions, news ('hNUMBER/WHAT' if they are held, otherwise 'nNUMBER/WHAT'), members, events that the
-- node can't hear any more, cached or false, milliseconds it is kept, events so far, messages that the node hasn't heard, the
-- latest first, life of the channel, milliseconds for which members are in doubt (0: none is), those who are,
-- whether the count was told (0 no, 1 yes, 2 later)}
local state, connections, members, cached, held = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local node, topic, publish, count = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

local total = tonumber(redis.call('HGET', state, 'total') or 0)
local was_occupied = total > 0
local had = tonumber(redis.call('HGET', state, 'of|' .. node) or 0)

-- From now on nobody else tells the node's news, unless they are held and he is first.
local function news()
    local open = {}
    if ARGV[7] == '' then
        return open
    end
    local mine = node .. '.'
    local known = redis.call('HGETALL', held)
    for at = 1, #known, 2 do
        local field, value = known[at], known[at + 1]
        if string.sub(field, 1, #mine + 1) == '+' .. mine then
            open[#open + 1] = 'n' .. string.sub(field, #mine + 2)
            redis.call('HSET', held, field, ARGV[11])
        elseif string.sub(field, 1, 1) ~= '+' and string.sub(value, 1, #mine) == mine then
            open[#open + 1] = 'h' .. string.sub(value, #mine + 1) .. '/' .. field
        end
    end
    if #open > 0 then
        redis.call('PEXPIRE', held, ARGV[8])
    end
    return open
end
if count == 0 and had == 0 then
    return {redis.call('HGET', state, 'sequence'), total, news(), {}, 0, false, 0, '0', {}, '0', 0, {}, 0}
end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local lives = redis.call('HMGET', state, 'life', 'doubt')
local life, doubt = lives[1], tonumber(lives[2] or -1)
-- Later than the others the node finds out for itself who is there: it was away for longer than anybody waits.
local is_lost = ARGV[13] ~= '0' and (life and life ~= ARGV[13] or total == 0) and (doubt < 0 or doubt > now)
local is_told = ARGV[18] ~= ''
if is_lost and not is_told then
    return {'lost'}
end
if not life then
    life = time[1] .. string.format('%06d', time[2])
    -- what was published before anybody could say that he has subscribed is remembered (publish.lua)
    local events = string.match(redis.call('LINDEX', KEYS[6], -1) or '', '^..%d+ (%d+)')
    redis.call('HSET', state, 'life', life, 'events', events or 0)
end

local seen = tonumber(ARGV[5])
local sequence = tonumber(redis.call('HGET', state, 'sequence') or 0)
if sequence == 0 then
    sequence = tonumber(time[1] .. string.format('%06d', time[2]))
end
-- What the node hasn't heard, as far as it is known; and how many events it will never hear.
local heard, events = tonumber(ARGV[9]), tonumber(redis.call('HGET', state, 'events') or 0)
local missed, messages = 0, {}
if heard > 0 and count > 0 then
    local unheard, bytes = 0, 0
    local history = redis.call('LRANGE', KEYS[6], 0, -1)
    -- The latest first, and not more than a connection may have waiting: what is longer is missed.
    for back = #history, 1, -1 do
        local message = history[back]
        local at, number = string.match(message, '^..(%d+) (%d+)')
        bytes = bytes + #message
        if not at or tonumber(at) <= heard or bytes > 262144 then
            break
        end
        messages[#messages + 1] = message
        if number ~= '0' then
            unheard = unheard + 1
        end
    end
    -- Sequences of a life begin with the time at which it does: of a later one than that of what it heard last the node has heard nothing.
    local knows = ARGV[13] == life or (ARGV[13] == '0' and heard >= tonumber(life))
    missed = math.max(events - (knows and tonumber(ARGV[10]) or 0) - unheard, 0)
end
-- Beyond everything anybody has seen: what the node tells its subscribers of the answer comes after all they know.
redis.call('HSET', state, 'sequence', string.format('%.0f', math.max(sequence, seen)))

local function tell(kind, body)
    sequence = redis.call('HINCRBY', state, 'sequence', 1)
    redis.call(publish, topic, '1' .. kind .. string.format('%.0f', sequence) .. ' ' .. node .. '\n' .. body)
end

local function happens(what)
    if ARGV[7] ~= '' then
        redis.call('HSET', held, '+' .. ARGV[7] .. '/' .. what, node)
    end
end
local function ends(what)
    if ARGV[7] ~= '' and ARGV[12] == '1' then
        redis.call('HSET', held, what, ARGV[7])
    else
        happens(what)
    end
end
local function begins(what, contrary)
    if ARGV[12] ~= '1' or redis.call('HDEL', held, contrary) == 0 then
        happens(what)
    end
end

-- who was there before Redis lost everything
local from = 19 + 2 * tonumber(is_told and ARGV[18] or 0)
if is_lost then
    if doubt < 0 then
        doubt = now + tonumber(ARGV[14])
        redis.call('HSET', state, 'doubt', string.format('%.0f', doubt))
    end
    for at = 19, from - 2, 2 do
        redis.call('HSETNX', members, ARGV[at], ARGV[at + 1])
        redis.call('HSET', connections, '?|' .. ARGV[at], 1)
    end
    if ARGV[15] ~= '' then
        redis.call('HSETNX', state, 'told of', ARGV[15])
    end
    if ARGV[16] ~= '' then
        redis.call('SET', cached, ARGV[16], 'NX', 'PX', ARGV[17])
    end
end
-- Whoever is there finds out in time who isn't: this node may have gone by then.
tell('.', doubt > now and string.format('%.0f', doubt - now) or '')
local function is_in_doubt(user)
    return doubt > 0 and redis.call('HEXISTS', connections, '?|' .. user) == 1
end

local wanted = {}
for at = from, #ARGV, 4 do
    wanted[ARGV[at]] = true
end
local function goes(user)
    redis.call('HDEL', members, user)
    ends('-' .. user)
    tell('-', user)
end
-- who is here no more
local mine = node .. '|'
local known = redis.call('HKEYS', connections)
for _, field in ipairs(known) do
    if string.sub(field, 1, #mine) == mine then
        local user = string.sub(field, #mine + 1)
        if not wanted[user] then
            redis.call('HDEL', connections, field)
            if redis.call('HINCRBY', connections, '|' .. user, -1) <= 0 then
                redis.call('HDEL', connections, '|' .. user)
                if not is_in_doubt(user) then
                    goes(user)
                end
            end
        end
    end
end
-- who is here
for at = from, #ARGV, 4 do
    local user, member = ARGV[at], ARGV[at + 2]
    local is_new = false
    if redis.call('HSET', connections, mine .. user, ARGV[at + 1]) == 1 then
        is_new = redis.call('HINCRBY', connections, '|' .. user, 1) == 1
    end
    if is_new then
        redis.call('HSET', members, user, member)
        if not is_in_doubt(user) then
            begins('+' .. user, '-' .. user)
        end
        tell('+', member)
    elseif ARGV[at + 3] == '1' and redis.call('HGET', members, user) ~= member then
        redis.call('HSET', members, user, member)
        tell('=', member)
    end
end
-- who is nowhere, and has been waited for
local in_doubt = {}
if doubt > 0 then
    -- also if it would last longer than ever: the clock has been set back
    local is_over = now >= doubt or doubt - now > tonumber(ARGV[14])
    for _, field in ipairs(redis.call('HKEYS', connections)) do
        if string.sub(field, 1, 2) == '?|' then
            local user = string.sub(field, 3)
            local is_there = redis.call('HEXISTS', connections, '|' .. user) == 1
            if is_over then
                redis.call('HDEL', connections, field)
                if not is_there then
                    goes(user)
                end
            elseif not is_there then
                in_doubt[#in_doubt + 1] = user
            end
        end
    end
    if is_over then
        doubt = 0
        redis.call('HSET', state, 'doubt', '0')
    end
end

if count == 0 then
    redis.call('HDEL', state, 'of|' .. node)
else
    redis.call('HSET', state, 'of|' .. node, count)
end
total = total - had + count
local told = 0
if total <= 0 then
    redis.call('DEL', state, connections, members, KEYS[6])
    if was_occupied then
        ends('.')
    end
else
    redis.call('HSET', state, 'total', total)
    if not was_occupied and not is_told then
        begins('*', '.')
    elseif not was_occupied and ARGV[12] == '1' then
        -- who says that Redis has lost it has told that it is occupied, which it still is
        redis.call('HDEL', held, '.')
    end
    local counts = redis.call('HMGET', state, 'told of', 'told')
    if ARGV[6] == '1' and tonumber(counts[1] or 0) ~= total then
        told = 2
        -- Large channels are told now and then, and nobody while it is in doubt who is there. Who takes away what a dead node had
        -- won't come back to it.
        local second = tonumber(time[1])
        if doubt <= now and (total <= 100 or count == 0 or math.abs(second - tonumber(counts[2] or 0)) >= 5) then
            told = 1
            redis.call('HSET', state, 'told', second, 'told of', total)
            tell('#', total)
        end
    end
end
-- whoever has nobody there doesn't want to know
local list = count > 0 and redis.call('HVALS', members) or {}
return {
    string.format('%.0f', sequence), total, news(), list, missed,
    redis.call('GET', cached), redis.call('PTTL', cached), tostring(events), messages,
    life, math.max(doubt > 0 and doubt - now or 0, 0), in_doubt, told
}

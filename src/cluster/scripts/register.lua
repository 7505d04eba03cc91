-- Makes what one node has on a channel exactly this: after Redis was away or came back empty, and with nothing at all for a node
-- that is dead. Members who come or go by it are told. What happens by it is written down as news of the node, and answered
-- with all others of that node that are written down.
--
-- KEYS  state, connections of members, members, cached, held, history
-- ARGV  node, topic, publish command, subscriptions, highest sequence the node has given out, tell the count (1 or 0),
--       name of the news or '' if nobody wants to know, milliseconds for which news are remembered,
--       sequence up to which the node has heard everything (0: nothing), events until then,
--       who tells the node's news (itself, or another one if it is dead), whether news of who left are held (1 or 0),
--       then for each member: user id, connections, member
-- Answers {sequence or false, subscriptions, news ('hNUMBER/WHAT' if they are held, otherwise 'nNUMBER/WHAT'), members, events that the
-- node can't hear any more, cached or false, milliseconds it is kept, events so far, messages that the node hasn't heard, the
-- latest first}
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
    return {redis.call('HGET', state, 'sequence'), total, news(), {}, 0, false, 0, '0', {}}
end

local seen = tonumber(ARGV[5])
local sequence = tonumber(redis.call('HGET', state, 'sequence') or 0)
if sequence == 0 then
    local time = redis.call('TIME')
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
    local before = tonumber(ARGV[10])
    if events < before then
        -- another life of the channel
        before = had > 0 and events or 0
    end
    missed = math.max(events - before - unheard, 0)
end
-- Beyond everything anybody has seen: what the node tells its subscribers of the answer comes after all they know.
redis.call('HSET', state, 'sequence', string.format('%.0f', math.max(sequence, seen)))

local function tell(kind, body)
    sequence = redis.call('HINCRBY', state, 'sequence', 1)
    redis.call(publish, topic, '1' .. kind .. string.format('%.0f', sequence) .. ' ' .. node .. '\n' .. body)
end

tell('.', '')
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

local wanted = {}
for at = 13, #ARGV, 3 do
    wanted[ARGV[at]] = true
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
                redis.call('HDEL', members, user)
                ends('-' .. user)
                tell('-', user)
            end
        end
    end
end
-- who is here
for at = 13, #ARGV, 3 do
    local user = ARGV[at]
    if redis.call('HSET', connections, mine .. user, ARGV[at + 1]) == 1 then
        if redis.call('HINCRBY', connections, '|' .. user, 1) == 1 then
            redis.call('HSET', members, user, ARGV[at + 2])
            begins('+' .. user, '-' .. user)
            tell('+', ARGV[at + 2])
        end
    end
end

if count == 0 then
    redis.call('HDEL', state, 'of|' .. node)
else
    redis.call('HSET', state, 'of|' .. node, count)
end
total = total - had + count
if total <= 0 then
    redis.call('DEL', state, connections, members, KEYS[6])
    if was_occupied then
        ends('.')
    end
else
    redis.call('HSET', state, 'total', total)
    if not was_occupied then
        begins('*', '.')
    end
    if ARGV[6] == '1' and count ~= had then
        tell('#', total)
    end
end
-- whoever has nobody there doesn't want to know
local list = count > 0 and redis.call('HVALS', members) or {}
return {
    string.format('%.0f', sequence), total, news(), list, missed,
    redis.call('GET', cached), redis.call('PTTL', cached), tostring(events), messages
}

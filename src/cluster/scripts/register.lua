-- Makes what one node has on a channel exactly this: after Redis was away or came back empty, and with nothing at all for a node
-- that is dead. Members who come or go by it are told.
--
-- KEYS  state, connections of members, members, cached, held, history
-- ARGV  node, topic, publish command, subscriptions, highest sequence the node has given out, tell the count (1 or 0),
--       name of the news of who left if they are to be held or '', milliseconds for which held news are remembered,
--       sequence up to which the node has heard everything (0: nothing), events until then,
--       then for each member: user id, connections, member
-- Answers {sequence or false, subscriptions, was occupied before (1 or 0), users who came ('+id'; '=id' if the news that they left
-- are cancelled by it) and went ('-id'), members, events that the node can't hear any more, cached or false, milliseconds it is kept,
-- whether the news that the channel was vacated are cancelled, events so far, messages that the
-- node hasn't heard, the latest first}
local state, connections, members, cached, held = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local node, topic, publish, count = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

local total = tonumber(redis.call('HGET', state, 'total') or 0)
local was_occupied = total > 0 and 1 or 0
local had = tonumber(redis.call('HGET', state, 'of|' .. node) or 0)
if count == 0 and had == 0 then
    return {redis.call('HGET', state, 'sequence'), total, was_occupied, {}, {}, 0, false, 0, 0, '0', {}}
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
local function hold(what)
    if ARGV[7] ~= '' then
        redis.call('HSET', held, what, ARGV[7])
        redis.call('PEXPIRE', held, ARGV[8])
    end
end

local changes, wanted = {}, {}
for at = 11, #ARGV, 3 do
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
                changes[#changes + 1] = '-' .. user
                hold('-' .. user)
                tell('-', user)
            end
        end
    end
end
-- who is here
for at = 11, #ARGV, 3 do
    local user = ARGV[at]
    if redis.call('HSET', connections, mine .. user, ARGV[at + 1]) == 1 then
        if redis.call('HINCRBY', connections, '|' .. user, 1) == 1 then
            redis.call('HSET', members, user, ARGV[at + 2])
            local is_return = ARGV[7] ~= '' and redis.call('HDEL', held, '-' .. user) == 1
            changes[#changes + 1] = (is_return and '=' or '+') .. user
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
local cancels = 0
if total <= 0 then
    redis.call('DEL', state, connections, members, KEYS[6])
    if was_occupied == 1 then
        hold('.')
    end
else
    redis.call('HSET', state, 'total', total)
    if was_occupied == 0 and ARGV[7] ~= '' then
        cancels = redis.call('HDEL', held, '.')
    end
    if ARGV[6] == '1' and count ~= had then
        tell('#', total)
    end
end
-- whoever has nobody there doesn't want to know
local list = count > 0 and redis.call('HVALS', members) or {}
return {
    string.format('%.0f', sequence), total, was_occupied, changes, list, missed,
    redis.call('GET', cached), redis.call('PTTL', cached), cancels, tostring(events), messages
}

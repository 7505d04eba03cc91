-- An event. Kept for cache channels; published only where anybody in the cluster has subscribed. Nodes whose connection is away for a
-- moment find it in the history.
--
-- KEYS  state, cached event, history
-- ARGV  topic, publish command, kind, head (what follows sequence and count), body, milliseconds to keep it (0: not),
--       events that the history has (0: none), milliseconds that it has them, whether the event comes late (1 or 0)
-- Answers {sequence or false, subscriptions}
local state, cached, history = KEYS[1], KEYS[2], KEYS[3]

if ARGV[6] ~= '0' then
    redis.call('SET', cached, ARGV[5], 'PX', ARGV[6])
end
local total = tonumber(redis.call('HGET', state, 'total') or 0)
local sequence, events
if total > 0 then
    sequence = string.format('%.0f', redis.call('HINCRBY', state, 'sequence', 1))
    events = redis.call('HINCRBY', state, 'events', 1)
elseif ARGV[9] == '1' and ARGV[7] ~= '0' then
    -- Redis was away: those who have subscribed may not have been able to say so yet. The life that they begin goes on counting.
    local time = redis.call('TIME')
    local last, before = string.match(redis.call('LINDEX', history, -1) or '', '^..(%d+) (%d+)')
    local now = tonumber(time[1] .. string.format('%06d', time[2]))
    sequence = string.format('%.0f', math.max(now, tonumber(last or 0) + 1))
    events = tonumber(before or 0) + 1
else
    return {false, 0}
end
local message = '1' .. ARGV[3] .. sequence .. ' ' .. events .. ' ' .. ARGV[4] .. '\n' .. ARGV[5]
if ARGV[7] ~= '0' then
    redis.call('RPUSH', history, message)
    redis.call('LTRIM', history, '-' .. ARGV[7], -1)
    redis.call('PEXPIRE', history, ARGV[8])
end
if total <= 0 then
    return {false, 0}
end
redis.call(ARGV[2], ARGV[1], message)
return {sequence, total}

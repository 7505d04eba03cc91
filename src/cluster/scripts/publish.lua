-- An event. Kept for cache channels; published only where anybody in the cluster has subscribed.
--
-- KEYS  state, cached event
-- ARGV  topic, publish command, kind, head (what follows the sequence), body, milliseconds to keep it (0: not)
-- Answers {sequence or false, subscriptions}
local state, cached = KEYS[1], KEYS[2]

if ARGV[6] ~= '0' then
    redis.call('SET', cached, ARGV[5], 'PX', ARGV[6])
end
local total = tonumber(redis.call('HGET', state, 'total') or 0)
if total <= 0 then
    return {false, 0}
end
local sequence = redis.call('HINCRBY', state, 'sequence', 1)
redis.call(ARGV[2], ARGV[1], '1' .. ARGV[3] .. string.format('%.0f', sequence) .. ' ' .. ARGV[4] .. '\n' .. ARGV[5])
return {sequence, total}

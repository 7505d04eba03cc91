-- Nothing is left of a node.
--
-- KEYS  nodes, what they say of themselves, who takes away what dead ones have
-- ARGV  node
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
if redis.call('ZCARD', KEYS[1]) == 0 then
    redis.call('DEL', KEYS[2])
end
return 1

-- Nothing is left of a node. The last one leaves nothing behind.
--
-- KEYS  nodes, what they say of themselves, name of this life of Redis, who takes away what dead ones have
-- ARGV  node
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[4], ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 0 then
    redis.call('DEL', KEYS[3])
end
return 1

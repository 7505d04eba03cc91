-- A node is no more. The last one leaves nothing behind.
--
-- KEYS  nodes, what they say of themselves, name of this life of Redis
-- ARGV  node
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 0 then
    redis.call('DEL', KEYS[3])
end
return 0

-- Whether what those who watch a user were told is so. Who has gone is there until that is told.
--
-- KEYS  state of the user's channel, held
-- ARGV  whether they were told that he is there (1 or 0)
-- Answers 1: it is so; 0: it isn't
if redis.call('EXISTS', KEYS[1]) == 1 then
    return tonumber(ARGV[1])
end
if ARGV[1] == '0' then
    return 1
end
for _, field in ipairs(redis.call('HKEYS', KEYS[2])) do
    if field == '.' or string.sub(field, -2) == '/.' then
        return 1
    end
end
return 0

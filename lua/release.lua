-- Frees the lock, where it is still the caller's. The fence stays.
--
-- KEYS
--   lock       the lock
-- ARGV
--   value      the lock's value, compared whole
-- Replies
--   done
--   lost

--@select lock
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return { 'lost' }
end
redis.call('UNLINK', KEYS[1])
return { 'done' }

-- Frees the lock, where it is still the caller's, and tells those who wait for it. The fence stays.
--
-- KEYS
--   lock       the lock
-- ARGV
--   value      the lock's value, compared whole
--   channel    sibling(lock, free): where those listen who wait
-- Replies
--   done
--   lost

--@include free

--@select lock
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 'lost'
end
free(KEYS[1], ARGV[2])
return 'done'

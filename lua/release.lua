-- Releases the lock, if the caller still holds it, and notifies its waiters. The fence stays.
--
-- KEYS
--   lock       the lock
-- ARGV
--   value      the lock's value, compared as a whole
--   channel    sibling(lock, free): the channel of its waiters
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

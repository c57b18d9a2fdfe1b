-- Renews the lock and its fence for their whole lives, if the caller still holds the lock.
--
-- Checked before the first write: the lock's type and value.
--
-- KEYS
--   lock       the lock
--   fence      sibling(lock, fence)
-- ARGV
--   value      the lock's value, compared as a whole
--   ttl_ms     the lock's life in ms
-- Replies
--   done
--   lost

--@include limits

--@select lock
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 'lost'
end
redis.call('PEXPIRE', KEYS[2], FENCE_LIFE)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 'done'

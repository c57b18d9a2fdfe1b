-- Gives the lock and its fence their whole life again, where the lock is still the caller's.
--
-- Checked before the first write: the lock's type and value, the number.
--
-- KEYS
--   lock       the lock
--   fence      sibling(lock, fence)
-- ARGV
--   value      the lock's value, compared whole
--   ttl_ms     the lock's life in ms; the fence lives twice as long
-- Replies
--   done
--   lost

--@include ttl

--@select lock
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return { 'lost' }
end
if not is_ttl(ARGV[2]) then
    return redis.error_reply('CACHETX the time to live is out of bounds')
end
redis.call('PEXPIRE', KEYS[2], string.format('%.0f', 2 * tonumber(ARGV[2])))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return { 'done' }

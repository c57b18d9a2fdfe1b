-- Sets an entry and gives the lease back, if the caller still has the lease. A commit or an
-- invalidation drops leases, so a value loaded before it is refused after it. A repeat of a fill
-- that succeeded is refused too.
--
-- Checked before the first write: the types of the keys that are read, the field, and memory.
-- Written: the lease and the entry are deleted, then the entry is set. If this is cut off at any
-- point, the entry is absent or whole.
--
-- KEYS
--   value      the entry's value key
--   stamp      sibling(value, stamp)
--   leases     leases(value)
-- ARGV
--   token      the caller's token
--   bytes      the value
--   voucher    what the stamp key is set to
--   ttl_ms     the TTL of both in ms
-- Replies
--   filled
--   refused

--@include limits
--@include own_lease

local value, stamp, leases = KEYS[1], KEYS[2], KEYS[3]
local token, bytes, voucher, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

if not is_own_lease(leases, value, token) then
    return 'refused'
end
if REFUSE_OOM then
    -- A full server checks only the first write, and accepts a deletion there. So this HSET comes
    -- first; it changes nothing.
    redis.call('HSET', leases, value, redis.call('HMGET', leases, value)[1])
end
redis.call('HDEL', leases, value)
redis.call('UNLINK', value, stamp)
redis.call('SET', value, bytes, 'PX', ttl)
redis.call('SET', stamp, voucher, 'PX', ttl)
return 'filled'

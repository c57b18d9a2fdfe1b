-- Gives a lease back, if the caller still has it. Works on a full server.
--
-- KEYS
--   value      the entry's value key
--   leases     leases(value)
-- ARGV
--   token      the caller's token
-- Replies
--   done
--   lost

--@include own_lease

if not is_own_lease(KEYS[2], KEYS[1], ARGV[1]) then
    return 'lost'
end
redis.call('HDEL', KEYS[2], KEYS[1])
return 'done'

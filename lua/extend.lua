-- Renews a lease for its whole life, if the caller still has it.
--
-- Checked before the first write: the type of the hash, the field.
--
-- KEYS
--   value      the entry's value key
--   leases     leases(value)
-- ARGV
--   token      the caller's token
--   ttl_ms     the lease's life in ms
-- Replies
--   done
--   lost

--@include lease
--@include own_lease

local value, leases, token, ttl = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
if not is_own_lease(leases, value, token) then
    return 'lost'
end
put_lease(leases, value, token, ttl)
return 'done'

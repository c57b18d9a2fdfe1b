-- Returns the entry if it exists. Otherwise gives the caller the right to fill it, unless another
-- reader has that right or a writer has marked it.
--
-- Checked before the first write: the types of the keys that are read. Written: the field, then the
-- hash's TTL. If this is cut off between the two, a hash that did not exist before has no TTL until
-- the next lease sets one.
--
-- KEYS
--   value      the entry's value key
--   stamp      sibling(value, stamp)
--   leases     leases(value)
-- ARGV
--   token      the caller's token; a repeat with the same one gets the lease again
--   ttl_ms     the lease's life in ms
--   wanted     the file stamp that the entry must have, empty if there is no file
--   refused    a whole stamp that the caller rejects, as unfit or to be replaced; or empty
-- Replies
--   present    stamp, value
--   newer
--   busy       left_ms (decimal): how long the other reader's lease or the mark lasts
--   leased

--@include stamp

local value, stamp_key, leases = KEYS[1], KEYS[2], KEYS[3]
local token, ttl, wanted, refused = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local stamp = redis.call('GET', stamp_key)
if stamp then
    if is_later(stamp, wanted) then
        return 'newer'
    end
    local is_wanted = wanted == '' or is_of(stamp, wanted)
    local bytes = is_wanted and stamp ~= refused and redis.call('GET', value)
    if bytes then
        return { 'present', stamp, bytes }
    end
end

--@include decimal
--@include lease
--@include marks

local flight = redis.call('HMGET', leases, value)[1] or ''
local now = now_ms()
local time = string.format('%.0f', now)
local reader, ends = string.match(flight, '^l:([^:]*):(%d+)$')
if string.sub(flight, 1, 2) ~= 'l:' then
    ends = select(2, living(flight, nil, time))
end
if ends and reader ~= token and is_decimal(ends) and less(time, ends) then
    return { 'busy', string.format('%.0f', tonumber(ends) - now) }
end
put_lease(leases, value, token, ttl)
return 'leased'

-- Takes the lock where it is free or already holds this very value (an acquire whose reply was lost), and gives the next
-- fence, max(stored, floor) + 1, exactly in 64 bits.
--
-- Checked before the first write: the types of both keys, the numbers. Written: fence, then lock.
--
-- KEYS
--   lock       the lock
--   fence      sibling(lock, fence): the last fence given, a decimal number
-- ARGV
--   value      the lock's value, compared whole
--   ttl_ms     the lock's life in ms; the fence lives twice as long
--   floor      the highest fence that the caller has seen in storage, a decimal number
-- Replies
--   acquired   fence (decimal)
--   held       value, left_ms (decimal; -1 where the lock never expires)

--@include limits
--@include decimal
--@include ttl

local lock, fence = KEYS[1], KEYS[2]
local value, ttl, floor = ARGV[1], ARGV[2], ARGV[3]

--@select lock
local holder = redis.call('GET', lock)
if holder and holder ~= value then
    return { 'held', holder, string.format('%.0f', redis.call('PTTL', lock)) }
end
if not is_ttl(ttl) then
    return redis.error_reply('CACHETX the time to live is out of bounds')
end
local stored = redis.call('GET', fence) or '0'
if not is_decimal(stored) then
    return redis.error_reply('CACHETX the stored fence is not a decimal number: ' .. fence)
end
if not is_decimal(floor) then
    return redis.error_reply('CACHETX the floor of the fence is not a decimal number')
end
local last = less(stored, floor) and floor or stored
if less(MAX_FENCE, last) then
    return redis.error_reply('CACHETX the fence cannot grow any more')
end

local given = successor(last)
redis.call('SET', fence, given, 'PX', string.format('%.0f', 2 * tonumber(ttl)))
redis.call('SET', lock, value, 'PX', ttl)
return { 'acquired', given }

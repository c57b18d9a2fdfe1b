-- The rarer way to acquire a lock, used after one step of plain commands returned no fence above
-- the floor; that step may have acquired the lock already. Acquires the lock if it is free or
-- already has this value, and returns the next fence, max(stored, floor) + 1, exactly in 64 bits.
--
-- Checked before the first write: the types of both keys, and the numbers. Written: the fence, then
-- the lock.
--
-- KEYS
--   lock       the lock
--   fence      sibling(lock, fence): the last fence given, a decimal number
-- ARGV
--   value      the lock's value, compared as a whole
--   ttl_ms     the lock's life in ms
--   floor      the highest fence that the caller has seen in storage, a decimal number
-- Replies
--   acquired   fence (decimal)
--   held       value, left_ms (decimal; -1 if the lock never expires)

--@include limits
--@include decimal

local lock, fence = KEYS[1], KEYS[2]
local value, ttl, floor = ARGV[1], ARGV[2], ARGV[3]

--@select lock
local holder = redis.call('GET', lock)
if holder and holder ~= value then
    return { 'held', holder, string.format('%.0f', redis.call('PTTL', lock)) }
end
local stored = redis.call('GET', fence) or '0'
if not is_decimal(stored) then
    return redis.error_reply('CACHETX the stored fence is not a decimal number: ' .. fence)
end
local last = less(stored, floor) and floor or stored
if less(MAX_FENCE, last) then
    return redis.error_reply('CACHETX the fence cannot grow any more')
end

local given = successor(last)
redis.call('SET', fence, given, 'PX', FENCE_LIFE)
redis.call('SET', lock, value, 'PX', ttl)
return { 'acquired', given }

-- Deletes entries and the leases of readers that load them, so that those values are not filled.
-- Marks stay, except those with the caller's token. Raises the stamps of own entries among them, so
-- that a commit of an earlier file that arrives late does not set them. Works on a full server.
--
-- Read before the first write: the lock, the stamps, what is in flight. Written: leases and values
-- are deleted, stamps are raised, then the lock is released and its waiters are notified.
--
-- KEYS
--   lock*      the lock to release, if there is one
--   stamp*     for each stamp to raise: its key
--   group*     for each group of entries: the leases key that they share
--   entry*     all entries' value keys, group after group
-- ARGV
--   token      the token of own marks, empty if there are none
--   locks      how many locks: 0 or 1
--   stamps     how many stamps to raise
--   groups     how many groups of entries
--   lock*      the lock's value, compared as a whole
--   channel*   sibling(lock, free): the channel of its waiters
--   file*      for each stamp: that of the file, followed by
--   ttl_ms*      its TTL in ms
--   count*     for each group: how many entries it has
-- Replies
--   integer    values that existed

--@include limits
--@include stamp
--@include free
--@include unlink
--@include in_flight

local token = ARGV[1]
local locks, stamps, groups = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local files, first_entry = 4 + 2 * locks, locks + stamps + groups + 1
--@select lock
local held = locks == 1 and redis.call('GET', KEYS[1]) == ARGV[5]
--@select cache

local found = stamps > 0 and redis.call('MGET', unpack(KEYS, locks + 1, locks + stamps)) or {}
local flights = {}
local first = first_entry
for i = 1, groups do
    local last = first + tonumber(ARGV[files + 2 * stamps + i]) - 1
    add_in_flight(flights, KEYS[locks + stamps + i], first, last, token)
    first = last + 1
end

drop(flights)
local removed = unlink(first_entry, #KEYS)
keep_others(flights)
for i = 1, stamps do
    raise(KEYS[locks + i], found[i], ARGV[files + 2 * i - 1], ARGV[files + 2 * i])
end
--@select lock
if held then
    free(KEYS[1], ARGV[6])
end
return removed

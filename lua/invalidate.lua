-- Deletes entries and the leases of those who load them, so that what they load is not filled; marks stay. Works on a
-- full server.
--
-- Checked before the first write: the types of all keys that are read. Written: leases and values are deleted, then the
-- lock is released, and those who wait for it are told.
--
-- KEYS
--   lock*      the lock to release, where there is one
--   group*     for each group of entries: the leases key that they share
--   entry*     all entries' value keys, group after group
-- ARGV
--   locks      how many locks: 0 or 1
--   groups     how many groups of entries
--   lock*      the lock's value, compared whole
--   channel*   sibling(lock, free): where those listen who wait for it
--   count*     for each group: how many entries it has
-- Replies
--   removed    removed (decimal): values that were there

--@include limits
--@include write
--@include free
--@include unlink
--@include in_flight

local locks, groups = tonumber(ARGV[1]), tonumber(ARGV[2])
local first_entry = locks + groups + 1
--@select lock
local held = locks == 1 and redis.call('GET', KEYS[1]) == ARGV[3]
--@select cache

local flights = {}
local first = first_entry
for i = 1, groups do
    local last = first + tonumber(ARGV[2 + 2 * locks + i]) - 1
    add_in_flight(flights, KEYS[locks + i], first, last, '')
    first = last + 1
end

return attempt(function()
    drop(flights)
    local removed = unlink(first_entry, #KEYS)
    --@select lock
    if held then
        free(KEYS[1], ARGV[4])
    end
    return { 'removed', string.format('%.0f', removed) }
end)

-- Puts a mark on entries that are about to change, and deletes them. Until the mark is dropped or
-- expires, no reader gets a lease, so values that readers load meanwhile are not filled. A mark
-- replaces a reader's lease, and stands beside the marks of other writers.
--
-- Checked before the first write: the locks, and the types of all keys that are read. Written: the
-- marks, so that a full server refuses before anything is done; then the hashes' TTLs; then the
-- entries are deleted.
--
-- KEYS
--   lock*      for each lock: the lock
--   group*     for each group of entries: the leases key that they share
--   entry*     all entries' value keys, group after group
-- ARGV
--   token      the mark's token; a repeat with the same one renews the mark for its whole life
--   ttl_ms     the mark's life in ms
--   locks      how many locks
--   groups     how many groups of entries
--   lock*      for each lock: its value, compared as a whole
--   count*     for each group: how many entries it has
-- Replies
--   done
--   lost

--@include limits
--@include decimal
--@include unlink
--@include lease
--@include marks

local token, ttl = ARGV[1], ARGV[2]
local locks, groups = tonumber(ARGV[3]), tonumber(ARGV[4])
local first_entry = locks + groups + 1

--@select lock
local held = locks > 0 and redis.call('MGET', unpack(KEYS, 1, locks)) or {}
for i = 1, locks do
    if held[i] ~= ARGV[4 + i] then
        return 'lost'
    end
end
--@select cache

local time = now_ms()
local now, expires = string.format('%.0f', time), string.format('%.0f', time + tonumber(ttl))

-- The field with the caller's mark. Too many marks become one that nobody drops.
local function marked(field)
    local marks, last = living(field, token, now)
    if #marks >= MAX_MARKS then
        return 'w:*:' .. (less(expires, last) and last or expires)
    end
    marks[#marks + 1] = 'w:' .. token .. ':' .. expires
    return table.concat(marks, ' ')
end

local marks = {}
local first = first_entry
for i = 1, groups do
    local leases, last = KEYS[locks + i], first + tonumber(ARGV[4 + locks + i]) - 1
    for from = first, last, UNLINK_CHUNK do
        local to = math.min(from + UNLINK_CHUNK - 1, last)
        local found = redis.call('HMGET', leases, unpack(KEYS, from, to))
        local fields = {}
        for j = 1, to - from + 1 do
            fields[2 * j - 1] = KEYS[from + j - 1]
            fields[2 * j] = marked(found[j])
        end
        marks[#marks + 1] = { leases, fields, redis.call('PTTL', leases) }
    end
    first = last + 1
end

for _, put in ipairs(marks) do
    redis.call('HSET', put[1], unpack(put[2]))
end
for _, put in ipairs(marks) do
    if put[3] < tonumber(ttl) then
        redis.call('PEXPIRE', put[1], ttl)
    end
end
unlink(first_entry, #KEYS)
return 'done'

-- Sets the own entries, deletes the dependents and releases the locks, if all locks are still the caller's.
--
-- An own stamp that carries this commit's id shows that the commit has run: nothing but the release is done again. Where
-- a lock is lost, what would have been set or deleted is deleted: that is always safe. So it is where an own stamp is of a
-- later file: this request was held up on its way, and the lock's holder has saved again meanwhile.
--
-- Checked before the first write: the types of all keys that are read, the locks, the numbers, the staged values, and
-- memory. Written: delete (what is in flight, own entries, dependents), then set, then release; cut anywhere, entries are
-- absent and the locks held. Those who wait for a lock are told when it is released.
--
-- KEYS
--   lock*      for each lock: the lock
--   value*     for each own entry: its value key, followed by
--   stamp*       sibling(value, stamp)
--   leases*      leases(value)
--   staging*     sibling(value, id): where a staged value waits
--   group*     for each group of dependents: the leases key that they share
--   dependent* all dependents' value keys, group after group
-- ARGV
--   id         the commit id
--   release    1: release the locks, 0: keep them
--   token      the token of own marks, empty where there are none
--   locks      how many locks
--   owns       how many own entries
--   groups     how many groups of dependents
--   lock*      for each lock: its value, compared whole
--   channel*   for each lock: sibling(lock, free), where those listen who wait for it
--   bytes*     for each own entry: the value (empty where it is staged), followed by
--   staged*      1: the value waits under the staging key, 0: it is here
--   voucher*     what the stamp key is set to
--   ttl_ms*      the life of both in ms
--   count*     for each group: how many dependents it has
-- Replies
--   committed  removed (decimal): dependents that were there
--   replayed
--   lost       removed (decimal): dependents that were there
--   superseded removed (decimal): dependents that were there

--@include limits
--@include decimal
--@include mtime
--@include ttl
--@include write
--@include free
--@include unlink
--@include in_flight

local id, release, token = ARGV[1], ARGV[2] == '1', ARGV[3]
local locks, owns, groups = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local first_dependent = locks + 4 * owns + groups + 1

-- The indexes of own entry i's first key and first argument.
local function own_key(i)
    return locks + 4 * (i - 1) + 1
end
local function own_arg(i)
    return 6 + 2 * locks + 4 * (i - 1) + 1
end

local held, all_held = {}, true
--@select lock
for i = 1, locks do
    held[i] = redis.call('GET', KEYS[i]) == ARGV[6 + i]
    all_held = all_held and held[i]
end
--@select cache
local function release_held()
    --@select lock
    for i = 1, locks do
        if release and held[i] then
            free(KEYS[i], ARGV[6 + locks + i])
        end
    end
    --@select cache
end

local replayed, superseded = false, false
for i = 1, owns do
    local stamp = redis.call('GET', KEYS[own_key(i) + 1])
    if stamp and string.match(stamp, '^[^:]*:([^:]*):') == id then
        replayed = true
    end
    local stored, own = stamp and mtime(stamp), mtime(ARGV[own_arg(i) + 2])
    if stored and own and less(own, stored) then
        superseded = true
    end
end
if replayed then
    return attempt(function()
        for i = 1, owns do
            if ARGV[own_arg(i) + 1] == '1' then
                write('UNLINK', KEYS[own_key(i) + 3])
            end
        end
        release_held()
        return { 'replayed' }
    end)
end

local flights = {}
for i = 1, owns do
    add_in_flight(flights, KEYS[own_key(i) + 2], own_key(i), own_key(i), token)
end
local first = first_dependent
for i = 1, groups do
    local last = first + tonumber(ARGV[6 + 2 * locks + 4 * owns + i]) - 1
    add_in_flight(flights, KEYS[locks + 4 * owns + i], first, last, token)
    first = last + 1
end

if not all_held or superseded then
    return attempt(function()
        drop(flights)
        for i = 1, owns do
            write('UNLINK', KEYS[own_key(i)], KEYS[own_key(i) + 1], KEYS[own_key(i) + 3])
        end
        local removed = unlink(first_dependent, #KEYS)
        release_held()
        if all_held then
            return { 'superseded', string.format('%.0f', removed) }
        end
        return { 'lost', string.format('%.0f', removed) }
    end)
end

for i = 1, owns do
    if not is_ttl(ARGV[own_arg(i) + 3]) then
        return redis.error_reply('CACHETX the time to live is out of bounds')
    end
    if ARGV[own_arg(i) + 1] == '1' and redis.call('EXISTS', KEYS[own_key(i) + 3]) == 0 then
        return redis.error_reply('CACHETX a staged value is missing')
    end
end
if REFUSE_OOM and owns > 0 then
    -- A full server looks at the first write only, and does not mind a deletion. This writes nothing: it is refused there.
    redis.call('SETRANGE', KEYS[own_key(1) + 1], 0, '')
end

return attempt(function()
    drop(flights)
    for i = 1, owns do
        write('UNLINK', KEYS[own_key(i)], KEYS[own_key(i) + 1])
    end
    local removed = unlink(first_dependent, #KEYS)
    for i = 1, owns do
        local key, arg = own_key(i), own_arg(i)
        local ttl = ARGV[arg + 3]
        if ARGV[arg + 1] == '1' then
            write('RENAME', KEYS[key + 3], KEYS[key])
            write('PEXPIRE', KEYS[key], ttl)
        else
            write('SET', KEYS[key], ARGV[arg], 'PX', ttl)
        end
        write('SET', KEYS[key + 1], ARGV[arg + 2], 'PX', ttl)
    end
    release_held()
    return { 'committed', string.format('%.0f', removed) }
end)

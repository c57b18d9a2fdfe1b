-- Deletes the dependents, gives the own entries their TTL and releases the locks, if the caller
-- still holds all locks.
--
-- The own values are set immediately before this, in the same MULTI, by one plain SET each with a
-- short TTL. If `over` is given, that SET sets nothing if the entry is absent. Nobody sees the
-- values before this script has given them their TTL or deleted them again; if the script is lost,
-- they expire by themselves.
--
-- An own stamp that is this commit's voucher shows that the commit has run. What it set may have
-- been deleted since, so the values are deleted, and only the release is repeated.
--
-- In these cases, what would have been set or deleted is deleted, which is always safe:
-- - a lock is lost;
-- - an own stamp is of a later file: this request was delayed, and the document was saved again
--   meanwhile;
-- - `over` is given, and the stored entry is not that of the replaced file: without a lock,
--   anything may have happened since.
--
-- Read before the first write: the locks, the stamps, what is in flight. Written: deletions (what
-- is in flight, dependents), then the own entries' stamps and TTLs, then the release. If this is
-- cut off at any point, entries are absent or unchanged and the locks are held, except for own
-- entries, which are absent. A stamp never goes down: for an entry that is not set, it tells which
-- commits come too late.
--
-- KEYS
--   lock*      for each lock: the lock
--   stamp*     for each own entry: sibling(value, stamp)
--   value*     for each own entry: its value key
--   leases*    for each own entry: leases(value)
--   group*     for each group of dependents: the leases key that they share
--   dependent* all dependents' value keys: first those that share the first leases key and form no
--              group, then group after group
-- ARGV
--   shape      how many locks, own entries and groups, with a space between them
--   token      the token of own marks, empty if there are none
--   lock*      for each lock: its value, compared as a whole
--   channel*   for each lock: sibling(lock, free), the channel of its waiters; empty: keep the lock
--   voucher*   for each own entry: what the stamp key is set to, which is of its file, followed by
--   ttl_ms*      the TTL of both in ms
--   over*        the stamp of the file that it replaced; empty if a lock keeps others from changing it
--   count*     for each group: how many dependents it has
-- Replies
--   integer    committed: dependents that existed
--   replayed
--   lost       removed (decimal): dependents that existed
--   superseded removed (decimal): dependents that existed

--@include limits

-- The usual case first, with as few commands as possible: one document whose lock is held or which
-- has none, with the stamp of an earlier file or none, and nothing in flight. Otherwise nothing has
-- been done, and the general path below decides.
local l = ARGV[1] == '0 1 0' and 0 or ARGV[1] == '1 1 0' and 1
if l and #KEYS <= UNLINK_CHUNK then
    local found, a = redis.call('MGET', unpack(KEYS, 1, l + 1)), 2 + 2 * l
    local stamp, voucher, over = found[l + 1], ARGV[a + 1], ARGV[a + 3]
    local is_next = over == ''
    if stamp then
        is_next = stamp < voucher and string.find(stamp, '-', 1, true) == string.find(voucher, '-', 1, true)
            and (over == '' or string.sub(stamp, 1, #over + 1) == over .. ':'
                and string.sub(voucher, 1, #over + 1) ~= over .. ':')
    end
    if is_next and (l == 0 or found[1] == ARGV[3]) and redis.call('PTTL', KEYS[l + 3]) == -2 then
        local removed = KEYS[l + 4] and redis.call('UNLINK', unpack(KEYS, l + 4)) or 0
        redis.call('SET', KEYS[l + 1], voucher, 'PX', ARGV[a + 2])
        -- If the entry was absent, the SET before this script set nothing.
        local is_there = redis.call('PEXPIRE', KEYS[l + 2], ARGV[a + 2]) == 1
        if not is_there then
            redis.call('SET', KEYS[l + 1], string.match(voucher, '^[^:]*') .. '::', 'PX', ARGV[a + 2])
        end
        if l == 1 and ARGV[4] ~= '' then
            redis.call('UNLINK', KEYS[1])
            redis.pcall('PUBLISH', ARGV[4], '')
        end
        return is_there and removed or { 'superseded', string.format('%.0f', removed) }
    end
end

--@include stamp
--@include free
--@include unlink
--@include in_flight

local locks, owns, groups = string.match(ARGV[1], '^(%d+) (%d+) (%d+)$')
locks, owns, groups = tonumber(locks), tonumber(owns), tonumber(groups)
local token, value, leases, group = ARGV[2], locks + owns, locks + 2 * owns, locks + 3 * owns
local first_dependent, own_args = group + groups + 1, 2 + 2 * locks
local counts = own_args + 3 * owns

--@select lock
local found = redis.call('MGET', unpack(KEYS, 1, locks + owns))
local held, all_held = {}, true
for i = 1, locks do
    held[i] = found[i] == ARGV[2 + i]
    all_held = all_held and held[i]
end
--@select cache found = redis.call('MGET', unpack(KEYS, 1, locks + owns))

local replayed, superseded = false, false
for i = 1, owns do
    local stamp, arg = found[locks + i], own_args + 3 * i - 2
    if stamp == ARGV[arg] then
        replayed = true
    end
    local over = ARGV[arg + 2]
    if is_later(stamp, ARGV[arg])
        or over ~= '' and not (is_of(stamp, over) and redis.call('TYPE', KEYS[value + i]).ok ~= 'none') then
        superseded = true
    end
end

local flights, removed = {}, 0
if not replayed then
    for i = 1, owns do
        add_in_flight(flights, KEYS[leases + i], value + i, value + i, token)
    end
    local last = #KEYS
    for i = groups, 1, -1 do
        local first = last - tonumber(ARGV[counts + i]) + 1
        add_in_flight(flights, KEYS[group + i], first, last, token)
        last = first - 1
    end
    add_in_flight(flights, KEYS[leases + 1], first_dependent, last, token)
    drop(flights)
    removed = unlink(first_dependent, #KEYS)
    keep_others(flights)
end
local sets = all_held and not superseded and not replayed
for i = 1, owns do
    local key, arg = KEYS[value + i], own_args + 3 * i - 2
    if sets then
        redis.call('SET', KEYS[locks + i], ARGV[arg], 'PX', ARGV[arg + 1])
        redis.call('PEXPIRE', key, ARGV[arg + 1])
    else
        redis.call('UNLINK', key)
        raise(KEYS[locks + i], found[locks + i], string.match(ARGV[arg], '^[^:]*'), ARGV[arg + 1])
    end
end
--@select lock
for i = 1, locks do
    local channel = ARGV[2 + locks + i]
    if channel ~= '' and held[i] then
        free(KEYS[i], channel)
    end
end

if replayed then
    return 'replayed'
end
local text = string.format('%.0f', removed)
if not all_held then
    return { 'lost', text }
elseif superseded then
    return { 'superseded', text }
end
return removed

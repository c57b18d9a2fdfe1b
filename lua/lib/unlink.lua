-- Deletes KEYS[first] to KEYS[last] in chunks that unpack can take; returns how many existed.
local function unlink(first, last)
    local removed = 0
    for from = first, last, UNLINK_CHUNK do
        local to = math.min(from + UNLINK_CHUNK - 1, last)
        removed = removed + redis.call('UNLINK', unpack(KEYS, from, to))
    end
    return removed
end

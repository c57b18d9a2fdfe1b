-- Finds what is in flight for the entries KEYS[first] to KEYS[last]: all leases (l:), and the marks
-- (w:) with this token unless it is empty. Writes nothing; drop() and keep_others() do.
local idle = {}
local function add_in_flight(flights, leases, first, last, token)
    -- Most often nothing is in flight, and own entries and dependents share the key, so its type is
    -- read once. A key of another type belongs to another program.
    if idle[leases] == nil then
        idle[leases] = redis.call('TYPE', leases).ok ~= 'hash'
    end
    if idle[leases] then
        return
    end
    local own = ' w:' .. token .. ':'
    for from = first, last, UNLINK_CHUNK do
        local to = math.min(from + UNLINK_CHUNK - 1, last)
        local found = redis.call('HMGET', leases, unpack(KEYS, from, to))
        local fields, others = {}, {}
        for i = 1, to - from + 1 do
            local key, text = KEYS[from + i - 1], found[i] or ''
            local at = token ~= '' and string.find(' ' .. text, own, 1, true)
            if string.sub(text, 1, 2) == 'l:' then
                fields[#fields + 1] = key
            elseif at then
                local after = string.find(text, ' ', at, true) or #text + 1
                local before = at > 1 and string.sub(text, 1, at - 2) or ''
                local left = before .. string.sub(text, at > 1 and after or after + 1)
                if left == '' then
                    fields[#fields + 1] = key
                else
                    others[#others + 1], others[#others + 2] = key, left
                end
            end
        end
        flights[#flights + 1] = { leases, fields, others }
    end
end

local function drop(flights)
    for _, flight in ipairs(flights) do
        if #flight[2] > 0 then
            redis.call('HDEL', flight[1], unpack(flight[2]))
        end
    end
end

-- Drops the caller's mark where it is one of several. A full server accepts this only after a
-- deletion.
local function keep_others(flights)
    for _, flight in ipairs(flights) do
        if #flight[3] > 0 then
            redis.call('HSET', flight[1], unpack(flight[3]))
        end
    end
end

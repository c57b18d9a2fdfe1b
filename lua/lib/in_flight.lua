-- Finds what is in flight for the entries KEYS[first] to KEYS[last]: all leases (l:), and the marks
-- (w:) with this token unless it is empty. Writes nothing; drop() does.
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
    local mark = 'w:' .. token .. ':'
    for from = first, last, UNLINK_CHUNK do
        local to = math.min(from + UNLINK_CHUNK - 1, last)
        local found = redis.call('HMGET', leases, unpack(KEYS, from, to))
        local fields = {}
        for i = 1, to - from + 1 do
            local text = found[i]
            if text and (string.sub(text, 1, 2) == 'l:' or (token ~= '' and string.sub(text, 1, #mark) == mark)) then
                fields[#fields + 1] = KEYS[from + i - 1]
            end
        end
        if #fields > 0 then
            flights[#flights + 1] = { leases, fields }
        end
    end
end

local function drop(flights)
    for _, flight in ipairs(flights) do
        redis.call('HDEL', flight[1], unpack(flight[2]))
    end
end

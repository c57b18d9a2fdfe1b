-- The server's time in ms.
local function now_ms()
    local time = redis.call('TIME')
    return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Puts the caller's lease into the field, and lets the hash live as long as its longest-lived
-- field.
local function put_lease(leases, value, token, ttl)
    local expires = string.format('%.0f', now_ms() + tonumber(ttl))
    local left = redis.call('PTTL', leases)
    redis.call('HSET', leases, value, 'l:' .. token .. ':' .. expires)
    if left < tonumber(ttl) then
        redis.call('PEXPIRE', leases, ttl)
    end
end

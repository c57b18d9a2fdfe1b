-- Whether the field is the caller's lease. A lease that has expired and that nobody took is still
-- the caller's: a change of the entry would have dropped it.
local function is_own_lease(leases, value, token)
    local mine = 'l:' .. token .. ':'
    local text = redis.call('HMGET', leases, value)[1]
    return text and string.sub(text, 1, #mine) == mine
end

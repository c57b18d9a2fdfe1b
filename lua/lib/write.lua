-- Like redis.call, and remembers that something was written: what follows it may fail only midway.
local written = false
local function write(...)
    local reply = redis.call(...)
    written = true
    return reply
end

-- Runs what writes. Where it fails after its first write (an inner command that the ACL denies), what was written stays,
-- so the error says "midway" and the caller does not take it for "nothing was done".
local function attempt(body)
    local done, result = pcall(body)
    if done then
        return result
    end
    -- The server's own error is a string here; Redis 6.2 puts the place in front of it.
    local text = string.gsub(string.gsub(tostring(result), '^@[^:]+: %d+: %-?', ''), '%s+$', '')
    if written then
        return redis.error_reply('CACHETX midway: ' .. text)
    end
    return redis.error_reply(text)
end

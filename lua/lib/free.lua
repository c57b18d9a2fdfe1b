-- Frees a lock that is the caller's, and then tells whoever waits for it. Who waits looks again now and then, so an ACL that
-- denies the message costs them time, and must not fail what was done.
local function free(lock, channel)
    redis.call('UNLINK', lock)
    redis.pcall('PUBLISH', channel, '')
end

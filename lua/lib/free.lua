-- Releases a lock that the caller holds, then notifies its waiters. Waiters also poll, so an ACL
-- that denies the message costs them time, and must not fail what was done.
local function free(lock, channel)
    redis.call('UNLINK', lock)
    redis.pcall('PUBLISH', channel, '')
end

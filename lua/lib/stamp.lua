-- Stamps: `<modification time>-<size>-<inode>:<writer of the entry>:<digest>`. The first part is a
-- file's stamp.

-- Whether the stored stamp is of that file.
local function is_of(stored, file)
    return stored and string.sub(stored, 1, #file + 1) == file .. ':'
end

-- Whether the stored stamp is of a later file than `file`, which may be a whole stamp. Times have no
-- leading zeros, so a longer one is later.
local function is_later(stored, file)
    local own, time = string.match(file, '^%d+'), stored and string.match(stored, '^%d+')
    if not own or not time then
        return false
    end
    if #own ~= #time then
        return #own < #time
    end
    return own < time
end

-- Sets the stamp of a deleted entry to that of its file, so that an earlier commit that arrives
-- late does not set the entry. Never lowers a stamp.
local function raise(key, stored, file, ttl)
    if not is_later(stored, file) and not is_of(stored, file) then
        redis.call('SET', key, file .. '::', 'PX', ttl)
    end
end

-- Stamps: `<modification time>-<size>-<inode>:<who wrote the entry>:<digest>`, of which the first part is a file's stamp.

-- Who wrote the entry; nil where it is no stamp.
local function writer(stamp)
    return string.match(stamp, '^[^:]*:([^:]*):')
end

-- Whether the stored stamp is of that file.
local function is_of(stored, file)
    return stored and string.sub(stored, 1, #file + 1) == file .. ':'
end

-- Whether the stored stamp is of a later file: times have no leading zeros, so the longer one is later.
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

-- Says by the stamp of an entry that is not there which file it was of, so that no earlier commit sets it when it comes late.
local function raise(key, stored, file, ttl)
    if not is_later(stored, file) and not is_of(stored, file) then
        redis.call('SET', key, file .. '::', 'PX', ttl)
    end
end

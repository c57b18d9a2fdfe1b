-- The modification time that a stamp begins with; nil where it has none.
local function mtime(stamp)
    local time = string.match(stamp, '^%d+')
    return time and is_decimal(time) and time or nil
end

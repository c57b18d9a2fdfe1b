-- Marks of writers on one entry: `w:<token>:<end>` for each, with a space between them.

-- Those that have not ended, without the token's, and the end of the last one.
local function living(field, token, now)
    local marks, last = {}, nil
    for mark in string.gmatch(field or '', '[^ ]+') do
        local owner, ends = string.match(mark, '^w:([^:]*):(%d+)$')
        if owner and owner ~= token and is_decimal(ends) and less(now, ends) then
            marks[#marks + 1] = mark
            last = last and less(ends, last) and last or ends
        end
    end
    return marks, last
end

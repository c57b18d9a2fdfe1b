-- Decimal numbers as strings: Lua's own numbers lose integers above 2^53.

-- Whether the server's INCR would take it too: no sign, no leading zero, no longer than a 64-bit number.
local function is_decimal(text)
    return #text <= 19 and (text == '0' or string.match(text, '^[1-9]%d*$') ~= nil)
end

-- Whether a < b, for two of them.
local function less(a, b)
    if #a ~= #b then
        return #a < #b
    end
    return a < b
end

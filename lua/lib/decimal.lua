-- Decimal numbers as strings: Lua numbers lose integers above 2^53.

-- Whether the server's INCR would accept it too: no sign, no leading zero, no longer than a 64-bit
-- number.
local function is_decimal(text)
    return #text <= 19 and (text == '0' or string.match(text, '^[1-9]%d*$') ~= nil)
end

-- Whether a < b, for two such numbers.
local function less(a, b)
    if #a ~= #b then
        return #a < #b
    end
    return a < b
end

-- The next number. Costs two writes fewer than INCR plus a separate TTL; INCR's reply is a Lua
-- number.
local function successor(text)
    local head, digit, nines = string.match(text, '^(%d-)([0-8]?)(9*)$')
    return head .. (digit == '' and '1' or string.char(string.byte(digit) + 1)) .. string.rep('0', #nines)
end

-- Whether the server will take it as a life in ms: above zero, and short enough to double and to add to any time.
local function is_ttl(text)
    return #text <= 15 and string.match(text, '^[1-9]%d*$') ~= nil
end

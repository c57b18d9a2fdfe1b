//! The checks that are taken out of the Lua files, one at a time.

/// One textual edit.
pub(super) struct Mutation {
    /// The Lua file, without its ending.
    pub(super) file: &'static str,
    /// Has to be there exactly once, so that a change of the file is noticed here.
    pub(super) from: &'static str,
    pub(super) to: &'static str,
}

const fn without(file: &'static str, from: &'static str) -> Mutation {
    with(file, from, "")
}

const fn with(file: &'static str, from: &'static str, to: &'static str) -> Mutation {
    Mutation { file, from, to }
}

pub(super) const MUTATIONS: &[Mutation] = &[
    // Who holds the lock.
    with(
        "acquire",
        "if holder and holder ~= value then",
        "if false then",
    ),
    with("acquire", "holder and holder ~= value", "holder"),
    with(
        "renew",
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then",
        "if false then",
    ),
    with(
        "release",
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then",
        "if false then",
    ),
    with(
        "commit",
        "held[i] = redis.call('GET', KEYS[i]) == ARGV[6 + i]",
        "held[i] = true",
    ),
    with(
        "commit",
        "all_held = all_held and held[i]",
        "all_held = held[i]",
    ),
    with(
        "commit",
        "if not all_held or superseded then",
        "if superseded then",
    ),
    with("commit", "if release and held[i] then", "if release then"),
    with("commit", "if release and held[i] then", "if held[i] then"),
    with(
        "invalidate",
        "redis.call('GET', KEYS[1]) == ARGV[3]",
        "true",
    ),
    with("invalidate", "if held then", "if locks == 1 then"),
    // Fences.
    with("acquire", "if not is_decimal(stored) then", "if false then"),
    with("acquire", "if not is_decimal(floor) then", "if false then"),
    with(
        "acquire",
        "less(stored, floor) and floor or stored",
        "stored",
    ),
    with(
        "acquire",
        "less(stored, floor) and floor or stored",
        "floor",
    ),
    with("acquire", "if less(MAX_FENCE, last) then", "if false then"),
    without(
        "acquire",
        "redis.call('SET', fence, given, 'PX', string.format('%.0f', 2 * tonumber(ttl)))",
    ),
    with("lib/decimal", "#text <= 19 and ", ""),
    without("lib/decimal", "text == '0' or "),
    with("lib/decimal", "'^[1-9]%d*$'", "'^%d*$'"),
    with("lib/decimal", "'^[1-9]%d*$'", "'^[1-9]%d*'"),
    with("lib/decimal", "'^[1-9]%d*$'", "'[1-9]%d*$'"),
    with("lib/decimal", "if #a ~= #b then", "if false then"),
    with(
        "acquire",
        "redis.call('GET', fence) or '0'",
        "redis.call('GET', fence) or '1'",
    ),
    with(
        "lib/decimal",
        "string.char(string.byte(digit) + 1)",
        "digit",
    ),
    with("lib/decimal", "string.rep('0', #nines)", "nines"),
    // Lives.
    with("acquire", "redis.call('PTTL', lock)", "0"),
    with("acquire", "if not is_ttl(ttl) then", "if false then"),
    with("acquire", "2 * tonumber(ttl)", "tonumber(ttl)"),
    with(
        "acquire",
        "redis.call('SET', lock, value, 'PX', ttl)",
        "redis.call('SET', lock, value)",
    ),
    with("renew", "if not is_ttl(ARGV[2]) then", "if false then"),
    with("renew", "2 * tonumber(ARGV[2])", "tonumber(ARGV[2])"),
    without(
        "renew",
        "redis.call('PEXPIRE', KEYS[2], string.format('%.0f', 2 * tonumber(ARGV[2])))",
    ),
    without("renew", "redis.call('PEXPIRE', KEYS[1], ARGV[2])"),
    with(
        "commit",
        "if not is_ttl(ARGV[own_arg(i) + 3]) then",
        "if false then",
    ),
    without("commit", "write('PEXPIRE', KEYS[key], ttl)"),
    with(
        "commit",
        "write('SET', KEYS[key], ARGV[arg], 'PX', ttl)",
        "write('SET', KEYS[key], ARGV[arg])",
    ),
    with("commit", "ARGV[arg + 2], 'PX', ttl)", "ARGV[arg + 2])"),
    with("lib/ttl", "#text <= 15 and ", ""),
    with("lib/ttl", "string.match(text, '^[1-9]%d*$') ~= nil", "true"),
    // Replays.
    with(
        "commit",
        "string.match(stamp, '^[^:]*:([^:]*):') == id",
        "false",
    ),
    with(
        "commit",
        "string.match(stamp, '^[^:]*:([^:]*):') == id",
        "true",
    ),
    with("commit", "'^[^:]*:([^:]*):'", "'^[^:]*:([^:]*)'"),
    with("commit", "if replayed then", "if false then"),
    with(
        "commit",
        "if ARGV[own_arg(i) + 1] == '1' then\n                write('UNLINK'",
        "if false then\n                write('UNLINK'",
    ),
    with(
        "commit",
        "release_held()\n        return { 'replayed' }",
        "return { 'replayed' }",
    ),
    // A later save came first.
    with(
        "commit",
        "if stored and own and less(own, stored) then",
        "if false then",
    ),
    with("commit", "less(own, stored)", "less(stored, own)"),
    with("commit", "stamp and mtime(stamp)", "mtime(stamp)"),
    with(
        "commit",
        "if not all_held or superseded then",
        "if not all_held then",
    ),
    with(
        "lib/mtime",
        "time and is_decimal(time) and time or nil",
        "time",
    ),
    // What is in flight.
    without(
        "commit",
        "add_in_flight(flights, KEYS[own_key(i) + 2], own_key(i), own_key(i), token)",
    ),
    without(
        "commit",
        "add_in_flight(flights, KEYS[locks + 4 * owns + i], first, last, token)",
    ),
    without(
        "commit",
        "drop(flights)\n        for i = 1, owns do\n            write('UNLINK', KEYS[own_key(i)], KEYS[own_key(i) + 1], KEYS[own_key(i) + 3])\n        end",
    ),
    with(
        "commit",
        "drop(flights)\n    for i = 1, owns do",
        "for i = 1, owns do",
    ),
    without(
        "invalidate",
        "add_in_flight(flights, KEYS[locks + i], first, last, '')",
    ),
    without("invalidate", "drop(flights)"),
    with("lib/in_flight", "if idle[leases] then", "if true then"),
    with("lib/in_flight", "string.sub(text, 1, 2) == 'l:'", "true"),
    with("lib/in_flight", "string.sub(text, 1, 2) == 'l:'", "false"),
    without("lib/in_flight", "text and "),
    without("lib/in_flight", "token ~= '' and "),
    with(
        "lib/in_flight",
        "string.sub(text, 1, #mark) == mark",
        "true",
    ),
    with(
        "lib/in_flight",
        "string.sub(text, 1, #mark) == mark",
        "false",
    ),
    with("lib/in_flight", "'w:' .. token .. ':'", "'w:' .. token"),
    with("lib/in_flight", "if #fields > 0 then", "if true then"),
    without(
        "lib/in_flight",
        "write('HDEL', flight[1], unpack(flight[2]))",
    ),
    // What is deleted.
    with(
        "commit",
        "KEYS[own_key(i)], KEYS[own_key(i) + 1], KEYS[own_key(i) + 3])",
        "KEYS[own_key(i) + 1], KEYS[own_key(i) + 3])",
    ),
    with(
        "commit",
        "KEYS[own_key(i)], KEYS[own_key(i) + 1], KEYS[own_key(i) + 3])",
        "KEYS[own_key(i)], KEYS[own_key(i) + 3])",
    ),
    with(
        "commit",
        "KEYS[own_key(i)], KEYS[own_key(i) + 1], KEYS[own_key(i) + 3])",
        "KEYS[own_key(i)], KEYS[own_key(i) + 1])",
    ),
    with(
        "commit",
        "local removed = unlink(first_dependent, #KEYS)\n        release_held()",
        "local removed = 0\n        release_held()",
    ),
    with(
        "commit",
        "release_held()\n        if all_held",
        "if all_held",
    ),
    with(
        "commit",
        "write('UNLINK', KEYS[own_key(i)], KEYS[own_key(i) + 1])",
        "write('UNLINK', KEYS[own_key(i)])",
    ),
    with(
        "commit",
        "write('UNLINK', KEYS[own_key(i)], KEYS[own_key(i) + 1])",
        "write('UNLINK', KEYS[own_key(i) + 1])",
    ),
    with(
        "commit",
        "local removed = unlink(first_dependent, #KEYS)\n    for",
        "local removed = 0\n    for",
    ),
    with("invalidate", "unlink(first_entry, #KEYS)", "0"),
    with("lib/unlink", "removed = removed + write", "removed = write"),
    with(
        "lib/unlink",
        "first, last, UNLINK_CHUNK do",
        "first, last, 100000 do\n        local UNLINK_CHUNK = 100000",
    ),
    with(
        "lib/unlink",
        "math.min(from + UNLINK_CHUNK - 1, last)",
        "from + UNLINK_CHUNK - 1",
    ),
    with(
        "lib/in_flight",
        "first, last, UNLINK_CHUNK do",
        "first, last, 100000 do\n        local UNLINK_CHUNK = 100000",
    ),
    with(
        "lib/in_flight",
        "math.min(from + UNLINK_CHUNK - 1, last)",
        "from + UNLINK_CHUNK - 1",
    ),
    // What is set and released.
    without("commit", "free(KEYS[i], ARGV[6 + locks + i])"),
    with("commit", "if ARGV[arg + 1] == '1' then", "if false then"),
    without("commit", "write('RENAME', KEYS[key + 3], KEYS[key])"),
    with(
        "commit",
        "redis.call('EXISTS', KEYS[own_key(i) + 3]) == 0",
        "false",
    ),
    with("commit", "if REFUSE_OOM and owns > 0 then", "if false then"),
    without(
        "commit",
        "write('SET', KEYS[key + 1], ARGV[arg + 2], 'PX', ttl)",
    ),
    with(
        "commit",
        "release_held()\n    return { 'committed'",
        "return { 'committed'",
    ),
    without("release", "free(KEYS[1], ARGV[2])"),
    without("invalidate", "free(KEYS[1], ARGV[4])"),
    without("lib/free", "write('UNLINK', lock)"),
    // Those who wait are told, and a message that is denied is nobody's loss.
    without("lib/free", "redis.pcall('PUBLISH', channel, '')"),
    with("lib/free", "redis.pcall", "redis.call"),
    with(
        "lib/free",
        "write('UNLINK', lock)\n    redis.pcall('PUBLISH', channel, '')",
        "redis.pcall('PUBLISH', channel, '')\n    write('UNLINK', lock)",
    ),
    with("release", "ARGV[2])", "KEYS[1])"),
    with(
        "invalidate",
        "free(KEYS[1], ARGV[4])",
        "free(KEYS[1], ARGV[3])",
    ),
    with("commit", "ARGV[6 + locks + i]", "ARGV[6 + locks + 1]"),
    // The order of writes, and whether an error says that there were some.
    with(
        "acquire",
        "redis.call('SET', fence, given, 'PX', string.format('%.0f', 2 * tonumber(ttl)))\n\
         redis.call('SET', lock, value, 'PX', ttl)",
        "redis.call('SET', lock, value, 'PX', ttl)\n\
         redis.call('SET', fence, given, 'PX', string.format('%.0f', 2 * tonumber(ttl)))",
    ),
    with(
        "commit",
        "drop(flights)\n    for i = 1, owns do",
        "release_held()\n    drop(flights)\n    for i = 1, owns do",
    ),
    with(
        "commit",
        "local removed = unlink(first_dependent, #KEYS)\n    for i = 1, owns do",
        "local removed = 0\n    for i = 1, owns + 1 do\n        if i > owns then\n            \
         removed = unlink(first_dependent, #KEYS)\n            break\n        end",
    ),
    with(
        "commit",
        "local ttl = ARGV[arg + 3]\n",
        "local ttl = ARGV[arg + 3]\n        write('SET', KEYS[key + 1], ARGV[arg + 2], 'PX', ttl)\n",
    ),
    with(
        "invalidate",
        "drop(flights)\n",
        "if held then\n        free(KEYS[1], ARGV[4])\n    end\n    drop(flights)\n",
    ),
    // Leases of readers.
    with("lease", "if stamp then", "if true then"),
    with(
        "lease",
        "if stored and own and less(own, stored) then",
        "if false then",
    ),
    with("lease", "less(own, stored)", "less(stored, own)"),
    with("lease", "stored and own and less", "own and less"),
    with("lease", "stored and own and less", "stored and less"),
    without("lease", "wanted == '' or "),
    with(
        "lease",
        "string.match(stamp, '^([^:]*):') == wanted",
        "true",
    ),
    with("lease", "'^([^:]*):'", "'^([^:]*)'"),
    without("lease", "is_wanted and "),
    without("lease", "stamp ~= refused and "),
    with("lease", "if bytes then", "if is_wanted then"),
    with("lease", "flight or ''", "flight"),
    with("lease", "'^([lw]:[^:]*):(%d+)$'", "'^([l]:[^:]*):(%d+)$'"),
    with("lease", "'^([lw]:[^:]*):(%d+)$'", "'^(.:[^:]*):(%d+)$'"),
    without("lease", "owner ~= 'l:' .. token and "),
    without("lease", "is_decimal(expires) and "),
    without("lease", " and less(string.format('%.0f', now), expires)"),
    with("lease", "if not is_ttl(ttl) then", "if false then"),
    with(
        "extend",
        "if not is_own_lease(leases, value, token) then",
        "if false then",
    ),
    with("extend", "if not is_ttl(ttl) then", "if false then"),
    with(
        "give_back",
        "if not is_own_lease(KEYS[2], KEYS[1], ARGV[1]) then",
        "if false then",
    ),
    without("give_back", "redis.call('HDEL', KEYS[2], KEYS[1])"),
    with(
        "fill",
        "if not is_own_lease(leases, value, token) then",
        "if false then",
    ),
    with("fill", "if not is_ttl(ttl) then", "if false then"),
    with("fill", "if REFUSE_OOM then", "if false then"),
    without("fill", "write('HDEL', leases, value)"),
    without("fill", "write('UNLINK', value, stamp)"),
    with(
        "fill",
        "write('UNLINK', value, stamp)",
        "write('UNLINK', value)",
    ),
    without("fill", "write('SET', value, bytes, 'PX', ttl)"),
    with(
        "fill",
        "write('SET', value, bytes, 'PX', ttl)",
        "write('SET', value, bytes)",
    ),
    without("fill", "write('SET', stamp, voucher, 'PX', ttl)"),
    with(
        "fill",
        "write('SET', stamp, voucher, 'PX', ttl)",
        "write('SET', stamp, voucher)",
    ),
    with(
        "fill",
        "write('HDEL', leases, value)\n    write('UNLINK', value, stamp)",
        "write('UNLINK', value, stamp)\n    write('HDEL', leases, value)",
    ),
    with(
        "fill",
        "write('SET', value, bytes, 'PX', ttl)\n    write('SET', stamp, voucher, 'PX', ttl)",
        "write('SET', stamp, voucher, 'PX', ttl)\n    write('SET', value, bytes, 'PX', ttl)",
    ),
    // Marks of writers.
    with(
        "prepare",
        "if redis.call('GET', KEYS[i]) ~= ARGV[4 + i] then",
        "if false then",
    ),
    with("prepare", "if not is_ttl(ttl) then", "if false then"),
    with("prepare", "time + tonumber(ttl)", "time"),
    with("prepare", "flight or ''", "flight"),
    with("prepare", "'^(w:[^:]*):(%d+)$'", "'^([lw]:[^:]*):(%d+)$'"),
    without("prepare", "owner and owner ~= own and "),
    without("prepare", "owner ~= own and "),
    without("prepare", "is_decimal(ends) and "),
    without("prepare", " and less(now, ends)"),
    with(
        "prepare",
        "'w:*:' .. (less(expires, ends) and ends or expires)",
        "own .. ':' .. (less(expires, ends) and ends or expires)",
    ),
    with(
        "prepare",
        "less(expires, ends) and ends or expires",
        "expires",
    ),
    with("prepare", "less(expires, ends) and ends or expires", "ends"),
    with(
        "prepare",
        "first, last, UNLINK_CHUNK do",
        "first, last, 100000 do\n        local UNLINK_CHUNK = 100000",
    ),
    with(
        "prepare",
        "math.min(from + UNLINK_CHUNK - 1, last)",
        "from + UNLINK_CHUNK - 1",
    ),
    with("prepare", "redis.call('PTTL', leases)", "-1"),
    without("prepare", "write('HSET', put[1], unpack(put[2]))"),
    with(
        "prepare",
        "if put[3] < tonumber(ttl) then",
        "if put[3] == -2 then",
    ),
    without("prepare", "write('PEXPIRE', put[1], ttl)"),
    without("prepare", "unlink(first_entry, #KEYS)"),
    with(
        "prepare",
        "for _, put in ipairs(marks) do\n        write('HSET'",
        "unlink(first_entry, #KEYS)\n    for _, put in ipairs(marks) do\n        write('HSET'",
    ),
    with("lib/lease", "tonumber(time[1]) * 1000", "tonumber(time[1])"),
    with("lib/lease", "now_ms() + tonumber(ttl)", "now_ms()"),
    with("lib/lease", "redis.call('PTTL', leases)", "-1"),
    without(
        "lib/lease",
        "write('HSET', leases, value, 'l:' .. token .. ':' .. expires)",
    ),
    with(
        "lib/lease",
        "if left < tonumber(ttl) then",
        "if left == -2 then",
    ),
    without("lib/lease", "write('PEXPIRE', leases, ttl)"),
    without("lib/own_lease", "text and "),
    with(
        "lib/own_lease",
        "string.sub(text, 1, #mine) == mine",
        "true",
    ),
    with("lib/own_lease", "'l:' .. token .. ':'", "'l:'"),
    with("lib/write", "written = true", "written = false"),
    with("lib/write", "if written then", "if true then"),
    with("lib/write", "if done then", "if true then"),
];

/// Lines that decide nothing: one saves work, two are names.
pub(super) const NO_CHECKS: [(&str, &str); 3] = [
    ("lib/free", "local function free(lock, channel)"),
    ("lib/in_flight", "if idle[leases] == nil then"),
    ("lib/in_flight", "local function drop(flights)"),
];

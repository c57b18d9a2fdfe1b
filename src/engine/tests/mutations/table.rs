//! The checks that are removed from the Lua files, one at a time; those of locks, leases and marks
//! are here.

/// One textual edit.
pub(super) struct Mutation {
    /// The Lua file, without its extension.
    pub(super) file: &'static str,
    /// Must occur exactly once, so that a change of the file is noticed here.
    pub(super) from: &'static str,
    pub(super) to: &'static str,
}

pub(super) const fn without(file: &'static str, from: &'static str) -> Mutation {
    with(file, from, "")
}

pub(super) const fn with(file: &'static str, from: &'static str, to: &'static str) -> Mutation {
    Mutation { file, from, to }
}

pub(super) const LOCKS_AND_LEASES: &[Mutation] = &[
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
    // Fences.
    with("acquire", "if not is_decimal(stored) then", "if false then"),
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
    with(
        "acquire",
        "redis.call('SET', lock, value, 'PX', ttl)",
        "redis.call('SET', lock, value)",
    ),
    without("renew", "redis.call('PEXPIRE', KEYS[1], ARGV[2])"),
    // What is in flight.
    with("lib/in_flight", "if idle[leases] then", "if true then"),
    with("lib/in_flight", "string.sub(text, 1, 2) == 'l:'", "true"),
    with("lib/in_flight", "string.sub(text, 1, 2) == 'l:'", "false"),
    with("lib/in_flight", "found[i] or ''", "found[i]"),
    without("lib/in_flight", "token ~= '' and "),
    with("lib/in_flight", "elseif at then", "elseif false then"),
    with("lib/in_flight", "' w:' .. token .. ':'", "' w:' .. token"),
    with(
        "lib/in_flight",
        "string.find(text, ' ', at, true) or #text + 1",
        "#text + 1",
    ),
    with(
        "lib/in_flight",
        "at > 1 and string.sub(text, 1, at - 2) or ''",
        "string.sub(text, 1, at - 2)",
    ),
    with(
        "lib/in_flight",
        "at > 1 and string.sub(text, 1, at - 2) or ''",
        "''",
    ),
    with("lib/in_flight", "at > 1 and after or after + 1", "after"),
    with(
        "lib/in_flight",
        "at > 1 and after or after + 1",
        "after + 1",
    ),
    with("lib/in_flight", "if left == '' then", "if false then"),
    with("lib/in_flight", "if left == '' then", "if true then"),
    with("lib/in_flight", "if #flight[2] > 0 then", "if true then"),
    with("lib/in_flight", "if #flight[3] > 0 then", "if true then"),
    without(
        "lib/in_flight",
        "redis.call('HSET', flight[1], unpack(flight[3]))",
    ),
    without(
        "lib/in_flight",
        "redis.call('HDEL', flight[1], unpack(flight[2]))",
    ),
    // What is deleted.
    with(
        "lib/unlink",
        "removed = removed + redis.call",
        "removed = redis.call",
    ),
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
    without("release", "free(KEYS[1], ARGV[2])"),
    without("lib/free", "redis.call('UNLINK', lock)"),
    // Waiters are told, and a denied message does no harm.
    without("lib/free", "redis.pcall('PUBLISH', channel, '')"),
    with("lib/free", "redis.pcall", "redis.call"),
    with(
        "lib/free",
        "redis.call('UNLINK', lock)\n    redis.pcall('PUBLISH', channel, '')",
        "redis.pcall('PUBLISH', channel, '')\n    redis.call('UNLINK', lock)",
    ),
    with("release", "ARGV[2])", "KEYS[1])"),
    // Leases of readers.
    with("lease", "if stamp then", "if true then"),
    without("lease", "wanted == '' or "),
    without("lease", "is_wanted and "),
    without("lease", "stamp ~= refused and "),
    with("lease", "if bytes then", "if is_wanted then"),
    with(
        "lease",
        "redis.call('HMGET', leases, value)[1] or ''",
        "redis.call('HMGET', leases, value)[1]",
    ),
    with("lease", "string.sub(flight, 1, 2) ~= 'l:'", "true"),
    with("lease", "string.sub(flight, 1, 2) ~= 'l:'", "false"),
    without("lease", "ends and "),
    without("lease", "reader ~= token and "),
    without("lease", "is_decimal(ends) and "),
    without("lease", " and less(time, ends)"),
    with(
        "extend",
        "if not is_own_lease(leases, value, token) then",
        "if false then",
    ),
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
    with("fill", "if REFUSE_OOM then", "if false then"),
    without(
        "fill",
        "redis.call('HSET', leases, value, redis.call('HMGET', leases, value)[1])",
    ),
    without("fill", "redis.call('HDEL', leases, value)"),
    without("fill", "redis.call('UNLINK', value, stamp)"),
    with(
        "fill",
        "redis.call('UNLINK', value, stamp)",
        "redis.call('UNLINK', value)",
    ),
    without("fill", "redis.call('SET', value, bytes, 'PX', ttl)"),
    with(
        "fill",
        "redis.call('SET', value, bytes, 'PX', ttl)",
        "redis.call('SET', value, bytes)",
    ),
    without("fill", "redis.call('SET', stamp, voucher, 'PX', ttl)"),
    with(
        "fill",
        "redis.call('SET', stamp, voucher, 'PX', ttl)",
        "redis.call('SET', stamp, voucher)",
    ),
    with(
        "fill",
        "redis.call('HDEL', leases, value)\nredis.call('UNLINK', value, stamp)",
        "redis.call('UNLINK', value, stamp)\nredis.call('HDEL', leases, value)",
    ),
    with(
        "fill",
        "redis.call('SET', value, bytes, 'PX', ttl)\nredis.call('SET', stamp, voucher, 'PX', ttl)",
        "redis.call('SET', stamp, voucher, 'PX', ttl)\nredis.call('SET', value, bytes, 'PX', ttl)",
    ),
    // Marks of writers.
    with("prepare", "if held[i] ~= ARGV[4 + i] then", "if false then"),
    with("prepare", "time + tonumber(ttl)", "time"),
    with("prepare", "if #marks >= MAX_MARKS then", "if false then"),
    with("prepare", "#marks >= MAX_MARKS", "#marks > MAX_MARKS"),
    with(
        "prepare",
        "less(expires, last) and last or expires",
        "expires",
    ),
    with("prepare", "less(expires, last) and last or expires", "last"),
    with("lib/marks", "field or ''", "field"),
    without("lib/marks", "owner and "),
    without("lib/marks", "owner ~= token and "),
    without("lib/marks", "is_decimal(ends) and "),
    without("lib/marks", " and less(now, ends)"),
    with(
        "lib/marks",
        "last and less(ends, last) and last or ends",
        "last or ends",
    ),
    with(
        "lib/marks",
        "last and less(ends, last) and last or ends",
        "ends",
    ),
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
    without("prepare", "redis.call('HSET', put[1], unpack(put[2]))"),
    with(
        "prepare",
        "if put[3] < tonumber(ttl) then",
        "if put[3] == -2 then",
    ),
    without("prepare", "redis.call('PEXPIRE', put[1], ttl)"),
    without("prepare", "unlink(first_entry, #KEYS)"),
    with(
        "prepare",
        "for _, put in ipairs(marks) do\n    redis.call('HSET'",
        "unlink(first_entry, #KEYS)\nfor _, put in ipairs(marks) do\n    redis.call('HSET'",
    ),
    with("lib/lease", "tonumber(time[1]) * 1000", "tonumber(time[1])"),
    with("lib/lease", "now_ms() + tonumber(ttl)", "now_ms()"),
    with("lib/lease", "redis.call('PTTL', leases)", "-1"),
    without(
        "lib/lease",
        "redis.call('HSET', leases, value, 'l:' .. token .. ':' .. expires)",
    ),
    with(
        "lib/lease",
        "if left < tonumber(ttl) then",
        "if left == -2 then",
    ),
    without("lib/lease", "redis.call('PEXPIRE', leases, ttl)"),
    without("lib/own_lease", "text and "),
    with(
        "lib/own_lease",
        "string.sub(text, 1, #mine) == mine",
        "true",
    ),
    with("lib/own_lease", "'l:' .. token .. ':'", "'l:'"),
    with(
        "prepare",
        "locks > 0 and redis.call('MGET', unpack(KEYS, 1, locks)) or {}",
        "redis.call('MGET', unpack(KEYS, 1, locks))",
    ),
    with(
        "acquire",
        "redis.call('SET', fence, given, 'PX', FENCE_LIFE)",
        "redis.call('SET', fence, given)",
    ),
    without(
        "acquire",
        "redis.call('SET', fence, given, 'PX', FENCE_LIFE)",
    ),
    without("renew", "redis.call('PEXPIRE', KEYS[2], FENCE_LIFE)"),
    with(
        "lib/in_flight",
        "redis.call('TYPE', leases).ok ~= 'hash'",
        "redis.call('TYPE', leases).ok == 'none'",
    ),
];

/// Lines that decide nothing: one saves work, two are names.
pub(super) const NO_CHECKS: [(&str, &str); 3] = [
    ("lib/free", "local function free(lock, channel)"),
    ("lib/in_flight", "if idle[leases] == nil then"),
    ("lib/in_flight", "local function drop(flights)"),
];

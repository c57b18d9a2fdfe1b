//! The checks of commits, stamps and invalidations.

use super::table::{Mutation, with, without};

pub(super) const COMMITS: &[Mutation] = &[
    // Commits: who may set, and what.
    with("commit", "found[i] == ARGV[2 + i]", "true"),
    with(
        "commit",
        "all_held = all_held and held[i]",
        "all_held = held[i]",
    ),
    with(
        "commit",
        "all_held and not superseded and not replayed",
        "not superseded and not replayed",
    ),
    with(
        "commit",
        "all_held and not superseded and not replayed",
        "all_held and not replayed",
    ),
    with(
        "commit",
        "all_held and not superseded and not replayed",
        "all_held and not superseded",
    ),
    with(
        "commit",
        "if channel ~= '' and held[i] then",
        "if channel ~= '' then",
    ),
    with(
        "commit",
        "if channel ~= '' and held[i] then",
        "if held[i] then",
    ),
    without("commit", "free(KEYS[i], channel)"),
    with("commit", "ARGV[2 + locks + i]", "ARGV[2 + locks + 1]"),
    with("commit", "if stamp == ARGV[arg] then", "if false then"),
    with("commit", "if stamp == ARGV[arg] then", "if stamp then"),
    with(
        "commit",
        "if is_later(stamp, ARGV[arg])\n        or ",
        "if ",
    ),
    // Over another file than the one that was replaced, or over none.
    with("commit", "or over ~= '' and not", "or false and not"),
    with("commit", "over ~= '' and not", "not"),
    with("commit", "is_of(stamp, over) and ", ""),
    with(
        "commit",
        " and redis.call('TYPE', KEYS[value + i]).ok ~= 'none'",
        "",
    ),
    with("commit", "if not replayed then", "if true then"),
    without(
        "commit",
        "add_in_flight(flights, KEYS[leases + i], value + i, value + i, token)",
    ),
    without(
        "commit",
        "add_in_flight(flights, KEYS[group + i], first, last, token)",
    ),
    without(
        "commit",
        "add_in_flight(flights, KEYS[leases + 1], first_dependent, last, token)",
    ),
    without("commit", "drop(flights)"),
    without("commit", "keep_others(flights)"),
    with(
        "commit",
        "removed = unlink(first_dependent, #KEYS)",
        "removed = 0",
    ),
    with("commit", "if sets then", "if true then"),
    without("commit", "redis.call('PEXPIRE', key, ARGV[arg + 1])"),
    without(
        "commit",
        "redis.call('SET', KEYS[locks + i], ARGV[arg], 'PX', ARGV[arg + 1])",
    ),
    with("commit", "ARGV[arg], 'PX', ARGV[arg + 1])", "ARGV[arg])"),
    without("commit", "redis.call('UNLINK', key)"),
    without(
        "commit",
        "raise(KEYS[locks + i], found[locks + i], string.match(ARGV[arg], '^[^:]*'), ARGV[arg + 1])",
    ),
    with("commit", "if replayed then", "if false then"),
    with("commit", "if not all_held then", "if false then"),
    with("commit", "elseif superseded then", "elseif false then"),
    with(
        "commit",
        "local flights, removed = {}, 0\n",
        "local flights, removed = {}, 0\nfor i = 1, locks do\n    if ARGV[2 + locks + i] ~= '' and held[i] then\n        free(KEYS[i], ARGV[2 + locks + i])\n    end\nend\n",
    ),
    with(
        "commit",
        "local flights, removed = {}, 0\n",
        "local flights, removed = {}, unlink(first_dependent, #KEYS)\n",
    ),
    with(
        "commit",
        "local flights, removed = {}, 0\n",
        "local flights, removed = {}, 0\nif all_held and not superseded and not replayed then\n    for i = 1, owns do\n        redis.call('PEXPIRE', KEYS[value + i], 1000000)\n    end\nend\n",
    ),
    // The usual case.
    with("commit", "ARGV[1] == '1 1 0' and 1", "1"),
    with("commit", "if l and #KEYS", "if #KEYS"),
    with("commit", "#KEYS <= UNLINK_CHUNK", "true"),
    with("commit", "stamp < voucher and ", ""),
    with(
        "commit",
        "string.find(stamp, '-', 1, true) == string.find(voucher, '-', 1, true)",
        "true",
    ),
    with("commit", "(l == 0 or found[1] == ARGV[3]) and ", ""),
    with(
        "commit",
        "local is_next = over == ''",
        "local is_next = true",
    ),
    with("commit", "if stamp then", "if false then"),
    with("commit", "(over == '' or string.sub", "(true or string.sub"),
    with(
        "commit",
        "(stamp, 1, #over + 1) == over .. ':'",
        "(stamp, 1, #over) == over",
    ),
    with(
        "commit",
        "\n                and string.sub(voucher, 1, #over + 1) ~= over .. ':'",
        "",
    ),
    with("commit", "if is_next and ", "if "),
    with("commit", "redis.call('PTTL', KEYS[l + 3]) == -2", "true"),
    with(
        "commit",
        "KEYS[l + 4] and redis.call('UNLINK', unpack(KEYS, l + 4)) or 0",
        "0",
    ),
    without(
        "commit",
        "redis.call('SET', KEYS[l + 1], voucher, 'PX', ARGV[a + 2])",
    ),
    with(
        "commit",
        "redis.call('PEXPIRE', KEYS[l + 2], ARGV[a + 2]) == 1",
        "redis.call('EXISTS', KEYS[l + 2]) == 1",
    ),
    with(
        "commit",
        "redis.call('PEXPIRE', KEYS[l + 2], ARGV[a + 2]) == 1",
        "redis.call('PEXPIRE', KEYS[l + 2], ARGV[a + 2]) ~= 2",
    ),
    with("commit", "if not is_there then", "if false then"),
    with("commit", "if not is_there then", "if true then"),
    with(
        "commit",
        "string.match(voucher, '^[^:]*') .. '::', 'PX', ARGV[a + 2])",
        "string.match(voucher, '^[^:]*') .. '::')",
    ),
    with("commit", "is_there and removed or", "removed or"),
    with("commit", "is_there and removed or", "is_there and 0 or"),
    with(
        "commit",
        "if l == 1 and ARGV[4] ~= '' then",
        "if l == 1 then",
    ),
    with(
        "commit",
        "if l == 1 and ARGV[4] ~= '' then",
        "if ARGV[4] ~= '' then",
    ),
    without("commit", "redis.call('UNLINK', KEYS[1])"),
    without("commit", "redis.pcall('PUBLISH', ARGV[4], '')"),
    with(
        "commit",
        "local removed = KEYS[l + 4] and redis.call('UNLINK', unpack(KEYS, l + 4)) or 0\n        redis.call('SET', KEYS[l + 1], voucher, 'PX', ARGV[a + 2])\n",
        "redis.call('PEXPIRE', KEYS[l + 2], ARGV[a + 2])\n        redis.call('SET', KEYS[l + 1], voucher, 'PX', ARGV[a + 2])\n        local removed = KEYS[l + 4] and redis.call('UNLINK', unpack(KEYS, l + 4)) or 0\n",
    ),
    // Stamps.
    with("lib/stamp", "stored and string.sub", "string.sub"),
    with("lib/stamp", "#file + 1) == file .. ':'", "#file) == file"),
    with(
        "lib/stamp",
        "stored and string.match(stored, '^%d+')",
        "string.match(stored, '^%d+')",
    ),
    with(
        "lib/stamp",
        "if not own or not time then",
        "if not own then",
    ),
    with(
        "lib/stamp",
        "if not own or not time then",
        "if not time then",
    ),
    with("lib/stamp", "if #own ~= #time then", "if false then"),
    with("lib/stamp", "return own < time", "return time < own"),
    with(
        "lib/stamp",
        "if not is_later(stored, file) and not is_of(stored, file) then",
        "if true then",
    ),
    with("lib/stamp", "not is_later(stored, file) and ", ""),
    with("lib/stamp", " and not is_of(stored, file)", ""),
    without(
        "lib/stamp",
        "redis.call('SET', key, file .. '::', 'PX', ttl)",
    ),
    with("lib/stamp", "'::', 'PX', ttl)", "'::')"),
    // Invalidations.
    with(
        "invalidate",
        "redis.call('GET', KEYS[1]) == ARGV[5]",
        "true",
    ),
    with("invalidate", "if held then", "if locks == 1 then"),
    with(
        "invalidate",
        "stamps > 0 and redis.call('MGET', unpack(KEYS, locks + 1, locks + stamps)) or {}",
        "{}",
    ),
    without(
        "invalidate",
        "add_in_flight(flights, KEYS[locks + stamps + i], first, last, token)",
    ),
    without("invalidate", "drop(flights)"),
    without("invalidate", "keep_others(flights)"),
    with("invalidate", "unlink(first_entry, #KEYS)", "0"),
    without(
        "invalidate",
        "raise(KEYS[locks + i], found[i], ARGV[files + 2 * i - 1], ARGV[files + 2 * i])",
    ),
    without("invalidate", "free(KEYS[1], ARGV[6])"),
    with(
        "invalidate",
        "free(KEYS[1], ARGV[6])",
        "free(KEYS[1], ARGV[5])",
    ),
    with(
        "invalidate",
        "\ndrop(flights)\n",
        "\nif held then\n    free(KEYS[1], ARGV[6])\nend\ndrop(flights)\n",
    ),
    with("lease", "if is_later(stamp, wanted) then", "if false then"),
    with("lease", "is_of(stamp, wanted)", "true"),
];

//! Draws histories: which steps, over which keys, in which order.

use super::{
    super::lock,
    step::{Body, LEASES, Operation, Step, VALUES, stamp_of},
};
use crate::{
    model::{
        Lock,
        limits::{MAX_FENCE, MAX_LIFE_MS},
    },
    op::keys::sibling,
};
use proptest::{collection::vec, option, prelude::*, sample::select, sample::subsequence};

const LOCKS: [&str; 2] = ["l", "m"];
const HOLDERS: [&str; 2] = ["me", "you"];
const IDS: [&str; 3] = ["c0", "c1", "c2"];
/// Tokens of readers, whose fills carry them as a commit carries its id, and of writers' marks.
const TOKENS: [&str; 2] = ["t", "u"];
/// The stamp of a file later than any that is committed here.
const LATER: &str = "12-2-3:c7:0000000000000000";
/// What foreign programs write: stamps of commits, valid or almost; holders; numbers that are
/// fences or not; flights.
const TEXTS: [&str; 35] = [
    "",
    "x",
    "me",
    "you",
    "1-2-3:c0:0000000000000000",
    "x:c1:",
    "x:c1",
    "c2",
    ":c2:",
    "x:y:c2:",
    LATER,
    "010-2-3:c7:",
    "10",
    "10000000000000000000-2-3:c7:",
    "1-2-3",
    "0",
    "7",
    "07",
    "-1",
    "1e3",
    "9007199254740993",
    "9223372036854775806",
    "9223372036854775807",
    "18446744073709551616",
    "l:t:9",
    "w:t:9",
    "w::9",
    "w:*:9",
    "l:u:9",
    "l:t:",
    "l:t:09",
    "x:t:9999999999999999999",
    "l:v:99999999999999999999",
    "l:t",
    "l",
];
/// Owners of the leases and marks that are found: readers and writers of this history, and others.
const OWNERS: [&str; 6] = ["l:t", "l:u", "l:", "w:t", "w:u", "w:*"];

/// All lives are a multiple of this, and time advances by multiples of it plus [`OFFSET_MS`]. So a
/// key never expires nearer than that to a step, and the real time that a test takes makes no
/// difference.
const GRID_MS: u64 = 10_000_000;
const OFFSET_MS: u64 = 100_000;
/// With more steps the offsets would add up to the grid.
pub(in super::super) const MAX_STEPS: usize = 24;

/// Half of them begin with a lock. Some steps repeat an earlier one, like a client whose reply was
/// lost.
pub(in super::super) fn history() -> impl Strategy<Value = Vec<Step>> {
    let again = option::weighted(0.2, 1..=3_usize);
    let ends = option::weighted(0.7, (body(), life(), select(&[0, 0, 0, 1, 2])));
    let steps = vec((step(), again, ends), 1..MAX_STEPS);
    (any::<bool>(), steps).prop_map(|(locked, drawn)| {
        let first = Operation::Acquire(lock(LOCKS[0], HOLDERS[0]), 3 * GRID_MS, 0);
        let mut steps: Vec<Step> = locked
            .then_some(Step::Operation(first))
            .into_iter()
            .collect();
        for (step, again, end) in drawn {
            let earlier = again.and_then(|back| steps.iter().rev().nth(back - 1));
            let step = earlier.cloned().unwrap_or(step);
            let end = end.and_then(|end| end_of_lease(&step, end));
            steps.push(step);
            steps.extend(end);
        }
        steps
    })
}

/// What a reader does with the lease that it got: mostly it fills.
fn end_of_lease(step: &Step, (body, ttl_ms, end): (Body, u64, u8)) -> Option<Step> {
    let Step::Operation(Operation::Lease {
        value,
        token,
        wanted,
        ..
    }) = *step
    else {
        return None;
    };
    Some(Step::Operation(match end {
        0 => Operation::Fill {
            value,
            token,
            body,
            stamp: wanted,
            ttl_ms,
        },
        1 => Operation::Extend(value, token, ttl_ms),
        _ => Operation::GiveBack(value, token),
    }))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        18 => operation().prop_map(Step::Operation),
        2 => (key(), select(&TEXTS), option::of(life())).prop_map(|(k, t, l)| Step::Set(k, t, l)),
        2 => (values(), select(&TEXTS)).prop_map(|(k, t)| Step::Set(k.to_owned(), t, None)),
        2 => (values(), select(&TEXTS[4..15]))
            .prop_map(|(k, t)| Step::Set(sibling(k, "stamp"), t, None)),
        2 => values().prop_map(|k| Step::Set(sibling(k, "stamp"), LATER, None)),
        1 => (select(&LOCKS), select(&TEXTS[15..24]))
            .prop_map(|(k, t)| Step::Set(sibling(k, "fence"), t, None)),
        1 => key().prop_map(Step::Delete),
        3 => (select(&LEASES), values(), select(&TEXTS[24..]))
            .prop_map(|(k, f, t)| Step::SetField(k.to_owned(), f, t)),
        2 => (values(), select(&OWNERS), grids())
            .prop_map(|(v, o, ms)| Step::SetFlight(leases_of(v), v, o, ms)),
        1 => (key(), values(), select(&TEXTS)).prop_map(|(k, f, t)| Step::SetField(k, f, t)),
        1 => (0..3_u64).prop_map(|grids| Step::Advance(grids * GRID_MS + OFFSET_MS)),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        7 => (held(), life(), floor()).prop_map(|(l, t, f)| Operation::Acquire(l, t, f)),
        3 => (held(), life()).prop_map(|(l, t)| Operation::Renew(l, t)),
        2 => held().prop_map(Operation::Release),
        4 => prepare(),
        14 => commit(),
        3 => invalidate(),
        8 => lease(),
        1 => (values(), token(), life()).prop_map(|(v, t, ms)| Operation::Extend(v, t, ms)),
        1 => (values(), token()).prop_map(|(v, t)| Operation::GiveBack(v, t)),
        5 => fill(),
        1 => (values(), any::<bool>()).prop_map(|(v, life)| Operation::Read(v, life)),
        1 => subsequence(&LOCKS, 0..=2).prop_map(Operation::ClearLocks),
        1 => vec(prop_oneof![2 => key(), 3 => select(&LOCKS).prop_map(str::to_owned)], 0..4)
            .prop_map(Operation::Holders),
    ]
}

fn invalidate() -> impl Strategy<Value = Operation> {
    let entries = subsequence(&VALUES, 0..=5).prop_shuffle();
    let token = prop_oneof![2 => Just(""), 1 => token()];
    let raises = vec(file_time(), 0..=2);
    (entries, raises, token, option::of(held()), life()).prop_map(
        |(entries, raises, token, release, ttl_ms)| Operation::Invalidate {
            entries,
            raises,
            token,
            release,
            ttl_ms,
        },
    )
}

fn lease() -> impl Strategy<Value = Operation> {
    let wanted = option::of(file_time());
    let refused = option::weighted(0.3, select(&TEXTS[4..15]));
    (values(), token(), life(), wanted, refused).prop_map(
        |(value, token, ttl_ms, wanted, refused)| Operation::Lease {
            value,
            token,
            ttl_ms,
            wanted,
            refused,
        },
    )
}

fn fill() -> impl Strategy<Value = Operation> {
    (values(), token(), body(), option::of(file_time()), life()).prop_map(
        |(value, token, body, stamp, ttl_ms)| Operation::Fill {
            value,
            token,
            body,
            stamp,
            ttl_ms,
        },
    )
}

/// Times of files whose stamps foreign programs write, and some before and after them.
fn file_time() -> impl Strategy<Value = i64> {
    select(&[-5_i64, 0, 1, 8, 10, 11, 12, 13])
}

fn token() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => Just(TOKENS[0]), 1 => Just(TOKENS[1])]
}

fn leases_of(value: &str) -> &'static str {
    let index = VALUES.iter().position(|it| *it == value);
    LEASES[[0, 0, 1, 1, 2][index.unwrap_or(0)]]
}

/// Mostly for an entry that is loaded or marked already.
fn prepare() -> impl Strategy<Value = Operation> {
    let entries = subsequence(&VALUES, 1..=5).prop_shuffle();
    (locks(), entries, token(), life()).prop_map(|(locks, entries, token, ttl_ms)| {
        Operation::Prepare {
            locks,
            entries,
            token,
            ttl_ms,
        }
    })
}

fn locks() -> impl Strategy<Value = Vec<Lock>> {
    let keys = prop_oneof![
        4 => Just(vec![LOCKS[0]]),
        2 => Just(Vec::new()),
        1 => subsequence(&LOCKS, 0..=2).prop_shuffle(),
    ];
    (keys, vec(holder(), 2)).prop_map(|(keys, holders)| {
        let locks = std::iter::zip(keys, holders);
        locks.map(|(key, holder)| lock(key, holder)).collect()
    })
}

/// Own entries and dependents never overlap, and neither has duplicates: expansion ensures that.
fn commit() -> impl Strategy<Value = Operation> {
    let shuffled = prop_oneof![Just(VALUES.to_vec()), Just(VALUES.to_vec()).prop_shuffle(),];
    let parts = (1..=2_usize, 0..=3_usize, shuffled);
    let over = prop_oneof![
        body().prop_map(|body| body.file()),
        (0..3_i64).prop_map(stamp_of)
    ];
    let owns = vec((body(), life(), option::weighted(0.3, over)), 2);
    let release = proptest::bool::weighted(0.3);
    let token = prop_oneof![2 => Just(""), 1 => token()];
    (select(&IDS), locks(), parts, owns, release, token).prop_map(
        |(id, locks, (owns, dependents, values), bodies, release, token)| {
            let (own, rest) = values.split_at(owns);
            let own = std::iter::zip(own, bodies);
            Operation::Commit {
                id,
                locks,
                owns: own
                    .map(|(value, (body, ttl, over))| (*value, body, ttl, over))
                    .collect(),
                dependents: rest[..dependents].to_vec(),
                release,
                token,
            }
        },
    )
}

/// Mostly the first one, so that histories use it again.
fn values() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just(VALUES[0]), select(&VALUES)]
}

fn holder() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just(HOLDERS[0]), 1 => Just(HOLDERS[1])]
}

/// Mostly the same one, so that it is often held.
fn held() -> impl Strategy<Value = Lock> {
    let key = prop_oneof![3 => Just(LOCKS[0]), 1 => Just(LOCKS[1])];
    (key, holder()).prop_map(|(key, holder)| lock(key, holder))
}

fn body() -> impl Strategy<Value = Body> {
    any::<u8>().prop_map(Body)
}

fn life() -> impl Strategy<Value = u64> {
    prop_oneof![
        10 => grids(),
        1 => select(&[MAX_LIFE_MS, MAX_LIFE_MS + 1, 0, u64::MAX]),
    ]
}

fn grids() -> impl Strategy<Value = u64> {
    (1..=3_u64).prop_map(|grids| grids * GRID_MS)
}

fn floor() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..20_u64,
        1 => select(&[(1 << 53) + 1, MAX_FENCE - 1, MAX_FENCE, MAX_FENCE + 1, u64::MAX]),
    ]
}

/// Any key that an operation may use.
fn key() -> impl Strategy<Value = String> {
    let stamps = VALUES.iter().map(|value| sibling(value, "stamp"));
    let fences = LOCKS.iter().map(|lock| sibling(lock, "fence"));
    let plain = VALUES.iter().chain(&LEASES).chain(&LOCKS);
    let keys: Vec<String> = plain
        .map(|key| (*key).to_owned())
        .chain(stamps)
        .chain(fences)
        .collect();
    select(keys)
}

//! The steps that histories are made of, over a handful of keys.

use super::super::{entry, lock};
use crate::{
    limits::{MAX_FENCE, MAX_LIFE_MS, STAGING_BYTES},
    op::{
        Acquire, Ask as _, ClearLocks, Commit, Invalidate, Lock, Op, Own, Read, Release, Renew,
        Stamp, keys::sibling,
    },
};
use proptest::{collection::vec, option, prelude::*, sample::select, sample::subsequence};
use std::sync::Arc;

/// Two that share a leases key, two more that share another, and one with its own.
pub(in super::super) const VALUES: [&str; 5] = ["a", "b", "{t}c", "{t}d", "{u}e"];
const LEASES: [&str; 3] = [
    "cachetx:leases:run",
    "{t}:cachetx:leases",
    "{u}:cachetx:leases",
];
const LOCKS: [&str; 2] = ["l", "m"];
const HOLDERS: [&str; 2] = ["me", "you"];
const IDS: [&str; 3] = ["c0", "c1", "c2"];
/// The stamp of a later file than any that is committed here.
const LATER: &str = "12-2-3:c7:0000000000000000";
/// What foreign programs write: stamps of commits or not quite, holders, numbers that are fences or not, flights.
const TEXTS: [&str; 28] = [
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
    "l",
];

/// All lives are a multiple of this, and time goes on by some of them and [`OFFSET_MS`]: so a key's end is never nearer
/// than that to the time of a step, and the time that a test really takes makes no difference.
const GRID_MS: u64 = 10_000_000;
const OFFSET_MS: u64 = 100_000;
/// With more steps the offsets would add up to the grid.
pub(in super::super) const MAX_STEPS: usize = 24;

#[derive(Clone, Debug)]
pub(in super::super) enum Step {
    Operation(Operation),
    /// A foreign `SET`.
    Set(String, &'static str, Option<u64>),
    /// A foreign `DEL`.
    Delete(String),
    /// A foreign `HSET`: a reader's lease or a writer's mark, or a hash where none belongs.
    SetField(String, &'static str, &'static str),
    /// Time goes on, in ms.
    Advance(u64),
}

/// An [`Op`] that prints short.
#[derive(Clone, Debug)]
pub(in super::super) enum Operation {
    Acquire(Lock, u64, u64),
    Renew(Lock, u64),
    Release(Lock),
    Commit {
        id: &'static str,
        locks: Vec<Lock>,
        owns: Vec<(&'static str, Body, u64)>,
        dependents: Vec<&'static str>,
        release: bool,
    },
    Invalidate(Vec<&'static str>, Option<Lock>),
    Read(&'static str),
    ClearLocks(Vec<&'static str>),
}

/// A value that is sent along, or staged.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Body {
    Inline(u8),
    Staged(u8),
}

impl Body {
    fn bytes(self) -> Arc<[u8]> {
        match self {
            Self::Inline(byte) => vec![byte; usize::from(byte % 4)].into(),
            Self::Staged(byte) => vec![byte; STAGING_BYTES].into(),
        }
    }
}

impl Operation {
    pub(in super::super) fn to_op(&self) -> Op {
        match self.clone() {
            Self::Acquire(lock, ttl_ms, floor) => Acquire {
                fence_key: sibling(&lock.key, "fence"),
                lock,
                ttl_ms,
                floor,
            }
            .into_op(),
            Self::Renew(lock, ttl_ms) => Renew {
                fence_key: sibling(&lock.key, "fence"),
                lock,
                ttl_ms,
            }
            .into_op(),
            Self::Release(lock) => Release { lock }.into_op(),
            Self::Commit {
                id,
                locks,
                owns,
                dependents,
                release,
            } => Commit {
                wait: None,
                id: id.to_owned(),
                locks,
                own: owns.into_iter().map(own).collect(),
                dependents: dependents.into_iter().map(entry).collect(),
                release,
            }
            .into_op(),
            Self::Invalidate(entries, release) => Invalidate {
                entries: entries.into_iter().map(entry).collect(),
                release,
            }
            .into_op(),
            Self::Read(value) => Read {
                entry: entry(value),
            }
            .into_op(),
            Self::ClearLocks(locks) => ClearLocks {
                locks: locks.into_iter().map(str::to_owned).collect(),
            }
            .into_op(),
        }
    }
}

fn own((value, body, ttl_ms): (&str, Body, u64)) -> Own {
    let bytes = body.bytes();
    Own {
        entry: entry(value),
        stamp: Stamp {
            // Now and then of an earlier file than the one before.
            mtime_ns: i64::try_from(bytes.len() % 3).unwrap_or(0) + 8,
            size: bytes.len() as u64,
            inode: 7,
        },
        bytes,
        ttl_ms,
    }
}

/// Half of them begin with a lock, and some steps repeat one before them, as a client does whose reply was lost.
pub(in super::super) fn history() -> impl Strategy<Value = Vec<Step>> {
    let again = option::weighted(0.2, 1..=3_usize);
    let steps = vec((step(), again), 1..MAX_STEPS);
    (any::<bool>(), steps).prop_map(|(locked, drawn)| {
        let first = Operation::Acquire(lock(LOCKS[0], HOLDERS[0]), 3 * GRID_MS, 0);
        let mut steps: Vec<Step> = locked
            .then_some(Step::Operation(first))
            .into_iter()
            .collect();
        for (step, again) in drawn {
            let earlier = again.and_then(|back| steps.iter().rev().nth(back - 1));
            let step = earlier.cloned().unwrap_or(step);
            steps.push(step);
        }
        steps
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        14 => operation().prop_map(Step::Operation),
        2 => (key(), select(&TEXTS), option::of(life())).prop_map(|(k, t, l)| Step::Set(k, t, l)),
        2 => (values(), select(&TEXTS)).prop_map(|(k, t)| Step::Set(k.to_owned(), t, None)),
        2 => (values(), select(&TEXTS[4..14]))
            .prop_map(|(k, t)| Step::Set(sibling(k, "stamp"), t, None)),
        1 => values().prop_map(|k| Step::Set(sibling(k, "stamp"), LATER, None)),
        1 => (select(&LOCKS), select(&TEXTS[14..23]))
            .prop_map(|(k, t)| Step::Set(sibling(k, "fence"), t, None)),
        1 => key().prop_map(Step::Delete),
        3 => (select(&LEASES), values(), select(&TEXTS[23..]))
            .prop_map(|(k, f, t)| Step::SetField(k.to_owned(), f, t)),
        1 => (key(), values(), select(&TEXTS)).prop_map(|(k, f, t)| Step::SetField(k, f, t)),
        1 => (0..3_u64).prop_map(|grids| Step::Advance(grids * GRID_MS + OFFSET_MS)),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        7 => (held(), life(), floor()).prop_map(|(l, t, f)| Operation::Acquire(l, t, f)),
        3 => (held(), life()).prop_map(|(l, t)| Operation::Renew(l, t)),
        2 => held().prop_map(Operation::Release),
        10 => commit(),
        2 => (subsequence(&VALUES, 0..=5).prop_shuffle(), option::of(held()))
            .prop_map(|(values, lock)| Operation::Invalidate(values, lock)),
        1 => values().prop_map(Operation::Read),
        1 => subsequence(&LOCKS, 0..=2).prop_map(Operation::ClearLocks),
    ]
}

/// Own entries and dependents never meet, and neither has anything twice: expansion sees to that.
fn commit() -> impl Strategy<Value = Operation> {
    let shuffled = prop_oneof![Just(VALUES.to_vec()), Just(VALUES.to_vec()).prop_shuffle(),];
    let parts = (0..=2_usize, 0..=3_usize, shuffled);
    let owns = vec((body(), life()), 2);
    let keys = prop_oneof![
        4 => Just(vec![LOCKS[0]]),
        2 => Just(Vec::new()),
        1 => subsequence(&LOCKS, 0..=2).prop_shuffle(),
    ];
    let locks = (keys, vec(holder(), 2));
    let release = proptest::bool::weighted(0.3);
    (select(&IDS), locks, parts, owns, release).prop_map(
        |(id, (locks, holders), (owns, dependents, values), bodies, release)| {
            let (own, rest) = values.split_at(owns);
            let own = std::iter::zip(own, bodies);
            let locks = std::iter::zip(locks, holders);
            Operation::Commit {
                id,
                locks: locks.map(|(key, holder)| lock(key, holder)).collect(),
                owns: own
                    .map(|(value, (body, ttl))| (*value, body, ttl))
                    .collect(),
                dependents: rest[..dependents].to_vec(),
                release,
            }
        },
    )
}

/// Mostly the first, so that histories come back to it.
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
    prop_oneof![
        2 => any::<u8>().prop_map(Body::Inline),
        1 => any::<u8>().prop_map(Body::Staged),
    ]
}

fn life() -> impl Strategy<Value = u64> {
    prop_oneof![
        10 => (1..=3_u64).prop_map(|grids| grids * GRID_MS),
        1 => select(&[MAX_LIFE_MS, MAX_LIFE_MS + 1, 0, u64::MAX]),
    ]
}

fn floor() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..20_u64,
        1 => select(&[(1 << 53) + 1, MAX_FENCE - 1, MAX_FENCE, MAX_FENCE + 1, u64::MAX]),
    ]
}

/// Any key that an operation may meet.
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

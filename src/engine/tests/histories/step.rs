//! The steps of histories, over a handful of keys.

use super::super::entry;
use crate::{
    model::{Lock, Stamp},
    op::{
        Acquire, Ask as _, ClearLocks, Commit, Extend, Fill, GiveBack, Holders, Invalidate, Lease,
        Op, Own, Prepare, Raise, Read, Release, Renew, keys::sibling,
    },
};
use std::sync::Arc;

/// Two that share a leases key, two more that share another, and one with its own.
pub(in super::super) const VALUES: [&str; 5] = ["a", "b", "{t}c", "{t}d", "{u}e"];
pub(super) const LEASES: [&str; 3] = [
    "cachetx:leases:run",
    "{t}:cachetx:leases",
    "{u}:cachetx:leases",
];
#[derive(Clone, Debug)]
pub(in super::super) enum Step {
    Operation(Operation),
    /// A foreign `SET`.
    Set(String, &'static str, Option<u64>),
    /// A foreign `DEL`.
    Delete(String),
    /// A foreign `HSET`: a reader's lease or a writer's mark, or a hash where none belongs.
    SetField(String, &'static str, &'static str),
    /// The same, for a lease or mark that still lives this many ms.
    SetFlight(&'static str, &'static str, &'static str, u64),
    /// Time passes, in ms.
    Advance(u64),
}

/// An [`Op`] with a short printed form.
#[derive(Clone, Debug)]
pub(in super::super) enum Operation {
    Acquire(Lock, u64, u64),
    Renew(Lock, u64),
    Release(Lock),
    Prepare {
        locks: Vec<Lock>,
        entries: Vec<&'static str>,
        token: &'static str,
        ttl_ms: u64,
    },
    Commit {
        id: &'static str,
        locks: Vec<Lock>,
        owns: Vec<Drawn>,
        dependents: Vec<&'static str>,
        release: bool,
        /// The token of the own marks; empty if there are none.
        token: &'static str,
    },
    Invalidate {
        entries: Vec<&'static str>,
        /// For the first entries: the modification times of their files.
        raises: Vec<i64>,
        token: &'static str,
        release: Option<Lock>,
        ttl_ms: u64,
    },
    Lease {
        value: &'static str,
        token: &'static str,
        ttl_ms: u64,
        /// The modification time of the wanted file.
        wanted: Option<i64>,
        refused: Option<&'static str>,
    },
    Extend(&'static str, &'static str, u64),
    GiveBack(&'static str, &'static str),
    Fill {
        value: &'static str,
        token: &'static str,
        body: Body,
        stamp: Option<i64>,
        ttl_ms: u64,
    },
    Read(&'static str, bool),
    ClearLocks(Vec<&'static str>),
    Holders(Vec<String>),
}

/// Up to three bytes with this value.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Body(pub(super) u8);

impl Body {
    /// Sometimes of an earlier file than the one before.
    pub(super) fn file(self) -> Stamp {
        let size = self.bytes().len() as u64;
        Stamp {
            mtime_ns: i64::try_from(size % 3).unwrap_or(0) + 8,
            size,
            inode: 7,
        }
    }

    fn bytes(self) -> Arc<[u8]> {
        vec![self.0; usize::from(self.0 % 4)].into()
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
            Self::Prepare {
                locks,
                entries,
                token,
                ttl_ms,
            } => Prepare {
                locks,
                entries: entries.into_iter().map(entry).collect(),
                token: token.to_owned(),
                ttl_ms,
            }
            .into_op(),
            Self::Commit {
                id,
                locks,
                owns,
                dependents,
                release,
                token,
            } => Commit {
                token: token.to_owned(),
                wait: None,
                id: id.to_owned(),
                locks,
                own: owns.into_iter().map(own).collect(),
                dependents: dependents.into_iter().map(entry).collect(),
                release,
            }
            .into_op(),
            Self::Invalidate {
                entries,
                raises,
                token,
                release,
                ttl_ms,
            } => Invalidate {
                raises: std::iter::zip(&entries, raises)
                    .map(|(value, mtime_ns)| Raise {
                        value: (*value).into(),
                        stamp: stamp_of(mtime_ns),
                        ttl_ms,
                    })
                    .collect(),
                entries: entries.into_iter().map(entry).collect(),
                token: token.to_owned(),
                release,
            }
            .into_op(),
            Self::Lease {
                value,
                token,
                ttl_ms,
                wanted,
                refused,
            } => Lease {
                entry: entry(value),
                token: token.to_owned(),
                ttl_ms,
                wanted: wanted.map(stamp_of),
                refused: refused.map(Vec::from),
            }
            .into_op(),
            Self::Extend(value, token, ttl_ms) => Extend {
                entry: entry(value),
                token: token.to_owned(),
                ttl_ms,
            }
            .into_op(),
            Self::GiveBack(value, token) => GiveBack {
                entry: entry(value),
                token: token.to_owned(),
            }
            .into_op(),
            Self::Fill {
                value,
                token,
                body,
                stamp,
                ttl_ms,
            } => Fill {
                entry: entry(value),
                token: token.to_owned(),
                bytes: body.bytes(),
                stamp: stamp.map(stamp_of),
                ttl_ms,
            }
            .into_op(),
            Self::Read(value, life) => Read {
                entry: entry(value),
                life,
            }
            .into_op(),
            Self::ClearLocks(locks) => ClearLocks {
                locks: locks.into_iter().map(str::to_owned).collect(),
            }
            .into_op(),
            Self::Holders(locks) => Holders {
                locks,
                within: None,
            }
            .into_op(),
        }
    }
}

/// An own entry with a short printed form: its key, value and life, and the file that is replaced.
pub(super) type Drawn = (&'static str, Body, u64, Option<Stamp>);

fn own((value, body, ttl_ms, over): Drawn) -> Own {
    Own {
        entry: entry(value),
        stamp: body.file(),
        bytes: body.bytes(),
        ttl_ms,
        over,
    }
}

/// A file with the size and inode of the foreign stamps here.
pub(super) fn stamp_of(mtime_ns: i64) -> Stamp {
    Stamp {
        mtime_ns,
        size: 2,
        inode: 3,
    }
}

//! The server operations as data: keys, arguments, typed replies. No I/O.
//!
//! Each operation is one atomic step on the server and has the same meaning in every engine.

pub(crate) mod flight;
pub(crate) mod keys;
mod space;
pub(crate) mod voucher;

pub(crate) use space::Space;

use crate::model::{Bytes, Effect, Entry, Error, Lock, Stamp, error::Kind, limits};
use arcstr::Substr;
use std::time::Duration;

/// The own entry of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) entry: Entry,
    pub(crate) bytes: Bytes,
    pub(crate) stamp: Stamp,
    pub(crate) ttl_ms: u64,
    /// The stamp of the file that was replaced: the entry is set only if the server has that file's
    /// entry. `None` if a lock keeps others from changing it meanwhile.
    pub(crate) over: Option<Stamp>,
}

/// An own entry that is deleted, and the version that its stamp key names from then on. A commit of
/// an earlier version that arrives late then does not set the entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Raise {
    /// The entry's value key.
    pub(crate) value: Substr,
    pub(crate) stamp: Stamp,
    pub(crate) ttl_ms: u64,
}

/// How many replicas to wait for, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) replicas: u32,
    /// At least 1 ms: to the server, zero means forever.
    pub(crate) time: Duration,
}

/// Why an operation has no reply.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Certainly not executed: never sent, or the server answered with an error that precedes the
    /// first write.
    NotDone(Error),
    /// Sent, but no answer came, or an error that may have come after a write: it may have been
    /// executed, completely or in part.
    Unknown(Error),
}

impl Fault {
    pub(crate) fn error(&self) -> &Error {
        match self {
            Self::NotDone(e) | Self::Unknown(e) => e,
        }
    }

    /// The only place that sets the effect.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::NotDone(e) => e.effect_is(Effect::None),
            Self::Unknown(e) => e.effect_is(Effect::Unknown),
        }
    }

    /// The same fault after an earlier try. If that try `may_be_done`, "not done" becomes
    /// "unknown".
    pub(crate) fn after(self, may_be_done: bool) -> Self {
        match self {
            Self::NotDone(e) if may_be_done => Self::Unknown(e.effect_is(Effect::Unknown)),
            fault => fault,
        }
    }

    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }
}

impl Op {
    /// Whether the engine may resend it by itself if its connection was closed. The first copy may
    /// still be in transit and reach the server at any later moment, after everything that its
    /// sender did since:
    ///
    /// | | a first copy that arrives late | resent |
    /// | --- | --- | --- |
    /// | `Read`, `Holders` | changes nothing | yes |
    /// | `Renew`, `Extend` | finds another value or token, or prolongs what the caller still has | yes |
    /// | `Release`, `GiveBack` | finds another value or token; none is ever reused | yes |
    /// | `Fill` | finds that the lease ended with the second copy, or with whatever refused that one | yes |
    /// | `Invalidate` | deletes again, which is always safe | yes |
    /// | `Commit` | finds its own id (`replayed`), a later stamp (`superseded`) or another lock (`lost`): the last two only delete | yes |
    /// | `Prepare` | is refused once its lock is released; otherwise it deletes again, and its mark keeps readers from filling until its time is over. A second token would leave a mark that no commit drops | yes, with the same token |
    /// | `Acquire` | takes a lock that was released since, with a value that would admit a late commit | no: the protocol retries with another value |
    /// | `Lease` | restores a lease that a commit has dropped, so that an old value is filled | no: the protocol retries with another token |
    /// | `ClearLocks` | clears the lock of a later holder, which the operator has not seen | no |
    pub(crate) fn may_be_sent_again(&self) -> bool {
        if cfg!(cachetx_without_fresh_tokens) {
            return true;
        }
        !matches!(
            self,
            Self::Acquire(_) | Self::Lease(_) | Self::ClearLocks(_)
        )
    }
}

impl Op {
    /// Refuses what no engine can do, before any engine reads a key.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        let is_life = |ttl_ms: u64| (1..=limits::MAX_LIFE_MS).contains(&ttl_ms);
        let lives = match self {
            Self::Acquire(op) => is_life(op.ttl_ms),
            Self::Renew(op) => is_life(op.ttl_ms),
            Self::Prepare(op) => is_life(op.ttl_ms),
            Self::Commit(op) => op.own.iter().all(|own| is_life(own.ttl_ms)),
            Self::Invalidate(op) => op.raises.iter().all(|raise| is_life(raise.ttl_ms)),
            Self::Lease(op) => is_life(op.ttl_ms),
            Self::Extend(op) => is_life(op.ttl_ms),
            Self::Fill(op) => is_life(op.ttl_ms),
            Self::Release(_)
            | Self::GiveBack(_)
            | Self::Read(_)
            | Self::ClearLocks(_)
            | Self::Holders(_) => true,
        };
        let why = match self {
            _ if !lives => "the time to live is out of bounds",
            Self::Acquire(op) if op.floor > limits::MAX_FENCE => "the fence cannot grow any more",
            Self::Commit(op) if op.own.is_empty() => "a commit has an own entry",
            _ => return Ok(()),
        };
        let message = why.to_owned();
        Err(Fault::NotDone(Error::new(Kind::Server { message })))
    }
}

/// An operation that knows the type of its own reply.
pub(crate) trait Ask {
    type Reply;
    fn into_op(self) -> Op;
    /// `None` if an engine answered another operation: a bug of that engine.
    fn reply(reply: Reply) -> Option<Self::Reply>;
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? } -> $reply:ident { $($replies:tt)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub(crate) struct $name { $($(#[$field_doc])* pub(crate) $field: $type),* }
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub(crate) enum $reply { $($replies)* }
            impl Ask for $name {
                type Reply = $reply;
                fn into_op(self) -> Op { Op::$name(self) }
                fn reply(reply: Reply) -> Option<$reply> {
                    match reply { Reply::$name(r) => Some(r), _ => None }
                }
            }
        )*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) enum Op { $($name($name)),* }
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) enum Reply { $($name($reply)),* }
        impl Op {
            /// The operation's name, which is also that of its Lua file.
            pub(crate) fn name(&self) -> &'static str {
                match self { $(Self::$name(_) => stringify!($name)),* }
            }
        }
    };
}

impl Op {
    /// Whether a server that restarts with older data may undo what was acknowledged: an entry that
    /// was set or deleted, or a lock that was released.
    pub(crate) fn is_echoed(&self) -> bool {
        match self {
            Self::Commit(_) | Self::Release(_) => true,
            Self::Invalidate(op) => !op.entries.is_empty() || op.release.is_some(),
            _ => false,
        }
    }
}

operations! {
    /// Acquires the lock if it is free or already has this value; returns the next fence.
    Acquire {
        lock: Lock,
        /// `sibling(lock, fence)`.
        fence_key: String,
        ttl_ms: u64,
        /// The highest fence that the caller has seen in storage; the next one is above it.
        floor: u64,
    } -> AcquireReply { Acquired { fence: u64 }, Held { value: String, left_ms: u64 } }

    /// Renews the lock for its whole TTL, if the caller still holds it.
    Renew { lock: Lock, fence_key: String, ttl_ms: u64 } -> RenewReply { Done, Lost }

    /// Releases the lock, if the caller still holds it.
    Release { lock: Lock } -> ReleaseReply { Done, Lost }

    /// Marks entries that are about to change and deletes them, if the caller still holds the
    /// locks. Until the mark is dropped or expires, no reader gets a lease on them. Over another
    /// writer's mark it becomes one that only expires and cannot be dropped.
    Prepare {
        locks: Vec<Lock>,
        entries: Vec<Entry>,
        /// Token of the mark: 128 random bits in hex. A repeat with the same token renews the mark
        /// for its whole life.
        token: String,
        ttl_ms: u64,
    } -> PrepareReply { Done, Lost }

    /// Sets the own entries, deletes the dependents and releases the locks, if the caller still
    /// holds the locks.
    Commit {
        /// 128 random bits in hex.
        id: String,
        locks: Vec<Lock>,
        own: Vec<Own>,
        dependents: Vec<Entry>,
        release: bool,
        /// Token of the marks to drop; empty if there are none.
        token: String,
        /// Waits for replicas afterwards; the wait is not part of the step.
        wait: Option<Wait>,
    } -> CommitReply {
        Committed { removed: u64 },
        /// Committed, and the server reported how many replicas have it.
        Replicated { removed: u64, replicas: u64 },
        Replayed,
        Lost { removed: u64 },
        Superseded { removed: u64 },
    }

    /// Deletes entries; works on a full server.
    Invalidate {
        entries: Vec<Entry>,
        /// Own entries among them whose stamps are raised. A stamp of a later version stays; so
        /// does any stamp if the server has no memory for the new one.
        raises: Vec<Raise>,
        /// Token of the marks to drop; empty if there are none.
        token: String,
        /// A lock to release too, if it still has that value.
        release: Option<Lock>,
    } -> InvalidateReply { Removed(u64) }

    /// Returns the entry if it exists. Otherwise gives the caller the right to fill it, unless
    /// another reader has that right or a writer has marked it.
    Lease {
        entry: Entry,
        /// 128 random bits in hex; a repeat with the same token gets the same answer.
        token: String,
        ttl_ms: u64,
        /// The file stamp that the entry must have; `None` if there is no file.
        wanted: Option<Stamp>,
        /// A whole stamp entry that the caller has seen and treats as missing, because it does not
        /// vouch for the value or is to be replaced.
        refused: Option<Vec<u8>>,
    } -> LeaseReply {
        Present { voucher: Vec<u8>, value: Vec<u8> },
        /// The entry is of a later file than `wanted`.
        Newer,
        /// Another reader's lease or a mark lasts this long.
        Busy { left_ms: u64 },
        Leased,
    }

    /// Renews a lease for its whole life, if the caller still has it.
    Extend { entry: Entry, token: String, ttl_ms: u64 } -> ExtendReply { Done, Lost }

    /// Gives a lease back, if the caller still has it; works on a full server.
    GiveBack { entry: Entry, token: String } -> GiveBackReply { Done, Lost }

    /// Sets an entry and gives the lease back, if the caller still has the lease. So a value loaded
    /// before a commit or an invalidation is never set after it: both drop leases.
    Fill {
        entry: Entry,
        token: String,
        bytes: Bytes,
        /// The stamp of the file that the value is the content of, if there is one.
        stamp: Option<Stamp>,
        ttl_ms: u64,
    } -> FillReply { Filled, Refused }

    /// Reads the stamp entry and the value, in one plain `MGET`.
    Read {
        entry: Entry,
        /// Whether to ask in the same round trip for the value's remaining life, immediately after
        /// the `MGET`.
        life: bool,
    } -> ReadReply {
        Found {
            voucher: Option<Vec<u8>>,
            value: Option<Vec<u8>>,
            /// `None` if it was not requested, or the value never expires; zero if it has expired
            /// meanwhile.
            left_ms: Option<u64>,
        },
    }

    /// For operators: deletes locks, regardless of their holders, in one plain `UNLINK`. Fences
    /// stay.
    ClearLocks { locks: Vec<String> } -> ClearLocksReply { Cleared(u64) }

    /// Returns the value of each lock that is held and the ms that it has left (`u64::MAX` if it
    /// never expires), by plain `GETEX`es, which only a primary answers, and `PTTL`s in one round
    /// trip. A key that is not a string is not a lock.
    Holders {
        locks: Vec<String>,
        /// Time limit for the answer, if it is shorter than the usual one.
        within: Option<Duration>,
    } -> HoldersReply { Found(Vec<Option<(String, u64)>>) }
}

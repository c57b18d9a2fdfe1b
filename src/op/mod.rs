//! The server operations as data: keys, arguments, typed replies. No I/O.
//!
//! Each operation is one atomic step on the server and means the same in every engine.

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
    /// The file that was replaced: the entry is set only where the server has that file's. `None` where a lock keeps others from
    /// changing it meanwhile.
    pub(crate) over: Option<Stamp>,
}

/// An own entry that is deleted, and the version that its stamp says from then on: no commit of an earlier one, which may
/// still be on its way, sets it any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Raise {
    /// The entry's value key.
    pub(crate) value: Substr,
    pub(crate) stamp: Stamp,
    pub(crate) ttl_ms: u64,
}

/// How many replicas are waited for, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) replicas: u32,
    /// From 1 ms: the server takes zero for ever.
    pub(crate) time: Duration,
}

/// Why an operation has no reply.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Surely not executed: never sent, or the server answered with an error that comes before the first write.
    NotDone(Error),
    /// Sent, and no answer came, or an error that may have come after a write: it may have been executed, or a part of it.
    Unknown(Error),
}

impl Fault {
    pub(crate) fn error(&self) -> &Error {
        match self {
            Self::NotDone(e) | Self::Unknown(e) => e,
        }
    }

    /// The effect is set here, and nowhere else, from what is known.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::NotDone(e) => e.effect_is(Effect::None),
            Self::Unknown(e) => e.effect_is(Effect::Unknown),
        }
    }

    /// The same after an earlier try that `may_be_done`: then it is not known to be not done.
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
    /// Whether the engine may send it again by itself where a connection was closed under it. Of the two copies the first one
    /// may still be on its way, and reach the server at any later moment, after everything that its sender did since:
    ///
    /// | | a first copy that arrives late | sent again |
    /// | --- | --- | --- |
    /// | `Read`, `Holders` | changes nothing | yes |
    /// | `Renew`, `Extend` | finds another value or token, or prolongs what the caller still has | yes |
    /// | `Release`, `GiveBack` | finds another value or token; none is ever used for a second time | yes |
    /// | `Fill` | finds that the lease is gone with the second copy, or with whatever refused that | yes |
    /// | `Invalidate` | deletes once more, which is always safe | yes |
    /// | `Commit` | finds its own id (`replayed`), a later stamp (`superseded`) or another lock (`lost`): the last two only delete | yes |
    /// | `Prepare` | is refused once its lock is released; else it deletes once more, and its mark keeps readers from filling until its time is over. A second token would leave a mark that no commit drops | yes, with the same token |
    /// | `Acquire` | takes a lock that was released since, with a value that a late commit would be let in by | no: the protocol asks with another value |
    /// | `Lease` | gives back a lease that a commit has dropped, so that an old value is filled | no: the protocol asks with another token |
    /// | `ClearLocks` | clears the lock of a later holder, whom nobody has looked at | no |
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
    /// Refuses what no engine could do, before any of them looks at a key.
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

/// An operation that knows its own reply's type.
pub(crate) trait Ask {
    type Reply;
    fn into_op(self) -> Op;
    /// `None` where an engine answered another operation: a bug of that engine.
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
            /// The operation's name, which is also its Lua file's.
            pub(crate) fn name(&self) -> &'static str {
                match self { $(Self::$name(_) => stringify!($name)),* }
            }
        }
    };
}

impl Op {
    /// Whether a server that comes back with an older memory may undo what was acknowledged: an entry that was set or deleted, a
    /// lock that was released.
    pub(crate) fn is_echoed(&self) -> bool {
        match self {
            Self::Commit(_) | Self::Release(_) => true,
            Self::Invalidate(op) => !op.entries.is_empty() || op.release.is_some(),
            _ => false,
        }
    }
}

operations! {
    /// Takes the lock where it is free or already holds this very value, and gives the next fence.
    Acquire {
        lock: Lock,
        /// `sibling(lock, fence)`.
        fence_key: String,
        ttl_ms: u64,
        /// The highest fence the caller has seen in storage: the next one is above it.
        floor: u64,
    } -> AcquireReply { Acquired { fence: u64 }, Held { value: String, left_ms: u64 } }

    /// Gives the lock its whole TTL again, where it is still the caller's.
    Renew { lock: Lock, fence_key: String, ttl_ms: u64 } -> RenewReply { Done, Lost }

    /// Frees the lock, where it is still the caller's.
    Release { lock: Lock } -> ReleaseReply { Done, Lost }

    /// Marks entries that are about to change and deletes them, if the locks are still the caller's: until the mark is
    /// dropped or over, nobody is given a lease on them. Over another writer's mark it becomes one that only time drops.
    Prepare {
        locks: Vec<Lock>,
        entries: Vec<Entry>,
        /// The mark's: 128 random bits in hex; a repeat with the same ones gives it its whole life again.
        token: String,
        ttl_ms: u64,
    } -> PrepareReply { Done, Lost }

    /// Sets the own entries, deletes the dependents and releases the locks, if the locks are still the caller's.
    Commit {
        /// 128 random bits in hex.
        id: String,
        locks: Vec<Lock>,
        own: Vec<Own>,
        dependents: Vec<Entry>,
        release: bool,
        /// That of the marks which are dropped too; empty where there are none.
        token: String,
        /// Waits for replicas afterwards, which are not part of the step.
        wait: Option<Wait>,
    } -> CommitReply {
        Committed { removed: u64 },
        /// The same, and the server said how many replicas have it.
        Replicated { removed: u64, replicas: u64 },
        Replayed,
        Lost { removed: u64 },
        Superseded { removed: u64 },
    }

    /// Deletes entries; works on a full server.
    Invalidate {
        entries: Vec<Entry>,
        /// Own entries among them. A stamp that is of a later version stays; so it does where the server has no memory for it.
        raises: Vec<Raise>,
        /// That of the marks which are dropped too; empty where there are none.
        token: String,
        /// Released too, where it still holds that value.
        release: Option<Lock>,
    } -> InvalidateReply { Removed(u64) }

    /// Says whether an entry is there; where it is not, gives the caller the right to fill it, unless somebody else has that
    /// right or is about to write.
    Lease {
        entry: Entry,
        /// 128 random bits in hex; a repeat with the same ones is told the same.
        token: String,
        ttl_ms: u64,
        /// What the entry has to be of; `None` where there is no file.
        wanted: Option<Stamp>,
        /// A stamp entry, whole, that the caller has seen: no entry for this caller, since it does not vouch for the value,
        /// or since it is the one to be loaded anew.
        refused: Option<Vec<u8>>,
    } -> LeaseReply {
        Present { voucher: Vec<u8>, value: Vec<u8> },
        /// The entry is of a later file than the wanted one.
        Newer,
        /// Somebody else's lease or mark still has this long.
        Busy { left_ms: u64 },
        Leased,
    }

    /// Gives a lease its whole life again, where it is still the caller's.
    Extend { entry: Entry, token: String, ttl_ms: u64 } -> ExtendReply { Done, Lost }

    /// Gives a lease back, where it is still the caller's; works on a full server.
    GiveBack { entry: Entry, token: String } -> GiveBackReply { Done, Lost }

    /// Sets an entry and gives the lease back, where that is still the caller's. So a value that was loaded before a commit
    /// or an invalidation is never set after it: both drop leases.
    Fill {
        entry: Entry,
        token: String,
        bytes: Bytes,
        /// The file that the value is the content of, where it is one's.
        stamp: Option<Stamp>,
        ttl_ms: u64,
    } -> FillReply { Filled, Refused }

    /// The stamp entry and the value, in one plain `MGET`.
    Read {
        entry: Entry,
        /// Asks in the same round trip how long the value still lives, right after that.
        life: bool,
    } -> ReadReply {
        Found {
            voucher: Option<Vec<u8>>,
            value: Option<Vec<u8>>,
            /// `None` where it was not asked, or the value lives for ever; zero where it has gone meanwhile.
            left_ms: Option<u64>,
        },
    }

    /// An operator's: deletes locks whoever holds them, in one plain `UNLINK`. Fences stay.
    ClearLocks { locks: Vec<String> } -> ClearLocksReply { Cleared(u64) }

    /// The value of each lock that is held and the ms that it has left (`u64::MAX` where it never ends), by plain `GETEX`es,
    /// which only a primary answers, and `PTTL`s in one round trip. What is no string is no lock.
    Holders {
        locks: Vec<String>,
        /// How long the answer may take, where that is less than it may take else.
        within: Option<Duration>,
    } -> HoldersReply { Found(Vec<Option<(String, u64)>>) }
}

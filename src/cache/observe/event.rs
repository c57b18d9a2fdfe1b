//! What observers are told.

use crate::{
    engine::BreakerState,
    model::Error,
    protocol::{CacheOutcome, Outcome},
};
use std::time::Duration;

/// What has happened. Borrowed: an observer clones what it keeps.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Somebody asked for a document's lock: by [`Document::lock`](crate::Document::lock) and its kin, a transaction (for each of its documents), a
    /// creation, a deletion, or an update that has to wait for it.
    #[non_exhaustive]
    Lock {
        /// Whose lock it is.
        document: DocumentName<'a>,
        /// From the call until the lock was there and the file read, or until it was refused.
        waited: Duration,
        /// What came of it.
        outcome: LockOutcome<'a>,
    },
    /// A save, an update, a transaction or a deletion has ended. Where the caller's own closure failed, nothing is told.
    #[non_exhaustive]
    Save {
        /// Which of them.
        kind: SaveKind,
        /// One; a transaction's are several.
        documents: &'a [DocumentName<'a>],
        /// The tasks that it was given.
        tasks: &'a [String],
        /// Of a save, a transaction and a deletion: without the wait for the lock. Of an update: all of its tries, and waits.
        duration: Duration,
        /// Requests to the server that it waited for. Where there are no scripts ([`Engine::Watch`](crate::Engine::Watch)) each takes more than one exchange.
        round_trips: u32,
        /// How often the file turned out not to be the one that was read. An update tries again then.
        conflicts: u32,
        /// What it came to; an error where it was refused and nothing was written. [`Reason::of`](super::Reason::of) sorts errors.
        outcome: Result<&'a Outcome, &'a Error>,
    },
    /// [`Cache::invalidate`](crate::Cache::invalidate) or [`invalidate_around`](crate::Cache::invalidate_around) has ended.
    #[non_exhaustive]
    Invalidation {
        /// The tasks that it was given.
        tasks: &'a [String],
        /// Of [`invalidate_around`](crate::Cache::invalidate_around): of its last step, after the caller's change.
        duration: Duration,
        /// What it came to.
        outcome: &'a CacheOutcome,
    },
    /// [`Cache::get_or_load`](crate::Cache::get_or_load) has ended. A future of it that is dropped tells nothing; nor do `get`, `put` and reads of documents.
    #[non_exhaustive]
    Load {
        /// Whose value it is.
        controller: &'a str,
        /// The entry's key.
        key: &'a str,
        /// With the wait for others who load it, and the loader.
        duration: Duration,
        /// Where the value came from, and whether others have it now.
        outcome: LoadOutcome,
    },
    /// A lock was found lost while its guard held it.
    #[non_exhaustive]
    LockLost {
        /// The document's name; all names of a transaction whose commit found it, since it does not know which lock it was.
        document: &'a str,
        /// How it was lost.
        why: &'static str,
    },
    /// Records of the outbox, or of dead processes' outboxes, were brought to the server, or could not be. A look that finds nothing to do tells nothing.
    #[non_exhaustive]
    Replay {
        /// Records that the server has acknowledged.
        records: u64,
        /// Records that are left.
        left: u64,
        /// Of all requests together.
        duration: Duration,
        /// Why some are left.
        cause: Option<&'a Error>,
    },
    /// The circuit breaker of a server, or of a range of a Cluster's slots, has changed.
    #[non_exhaustive]
    Breaker {
        /// Its state now.
        state: BreakerState,
    },
    /// Other rules came into force, or were refused.
    #[non_exhaustive]
    Rules {
        /// An error where the rules in force stay.
        outcome: Result<(), &'a Error>,
    },
    /// A server was another one than the one that took the last changes, so they were sent to it once more.
    #[non_exhaustive]
    Echo {
        /// Entries that were deleted.
        entries: usize,
        /// Locks that were released.
        locks: usize,
    },
}

/// A document, by its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DocumentName<'a> {
    /// The run, which is its folder.
    pub run: &'a str,
    /// The controller.
    pub controller: &'a str,
    /// `run/controller[sku=tea]`, as in messages.
    pub name: &'a str,
}

/// What came of asking for a lock.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum LockOutcome<'a> {
    /// The server gave it.
    Acquired,
    /// The sidecar's OS lock took its place ([`WhileAway::OsLock`](crate::WhileAway::OsLock)).
    AcquiredWhileAway,
    /// Somebody else held it for as long as the caller would wait; for `try_lock`, just then. The error names the holder.
    TimedOut(&'a Error),
    /// The future that waited for it was dropped.
    Abandoned,
    /// Why it was refused: an unreachable server, no such document, a `READONLY` marker.
    Refused(&'a Error),
}

/// What has saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SaveKind {
    /// A guard, or the creation of a document.
    Save,
    /// [`Document::update`](crate::Document::update).
    Update,
    /// [`Transaction::commit`](crate::Transaction::commit).
    Transaction,
    /// [`Document::delete`](crate::Document::delete).
    Delete,
}

impl SaveKind {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Save, Self::Update, Self::Transaction, Self::Delete];

    /// A stable name, for labels: `save`, `update`, `transaction`, `delete`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Save => "save",
            Self::Update => "update",
            Self::Transaction => "transaction",
            Self::Delete => "delete",
        }
    }
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LoadOutcome {
    /// The server had it.
    Hit,
    /// It was loaded, and is there for others.
    Filled,
    /// It was loaded, and not filled, since the entry was changed meanwhile.
    FillRefused,
    /// It was loaded, and not filled, since somebody else loads it, or the server did not answer.
    NotFilled,
    /// There is none: its loader failed, say.
    Failed,
}

impl LoadOutcome {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Hit,
        Self::Filled,
        Self::FillRefused,
        Self::NotFilled,
        Self::Failed,
    ];

    /// A stable name, for labels: `hit`, `filled`, `fill_refused`, `not_filled`, `failed`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Filled => "filled",
            Self::FillRefused => "fill_refused",
            Self::NotFilled => "not_filled",
            Self::Failed => "failed",
        }
    }
}

impl LockOutcome<'_> {
    /// A stable name, for labels: `acquired`, `acquired_while_away`, `timed_out`, `abandoned`, `refused`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Acquired => "acquired",
            Self::AcquiredWhileAway => "acquired_while_away",
            Self::TimedOut(_) => "timed_out",
            Self::Abandoned => "abandoned",
            Self::Refused(_) => "refused",
        }
    }
}

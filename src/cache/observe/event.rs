//! The events that observers get.

use crate::{
    engine::BreakerState,
    model::Error,
    protocol::{CacheOutcome, Outcome},
};
use std::time::Duration;

/// Something that happened. Borrowed: an observer clones what it keeps.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A request for a document's lock ended: by [`Document::lock`](crate::Document::lock) and its
    /// variants, a transaction (for each of its documents), a creation, a deletion, or an update
    /// that has to wait for the lock.
    #[non_exhaustive]
    Lock {
        /// The document whose lock it is.
        document: DocumentName<'a>,
        /// From the call until the lock was acquired and the file read, or until it was refused.
        waited: Duration,
        /// The result.
        outcome: LockOutcome<'a>,
    },
    /// A save, an update, a transaction or a deletion ended. There is no event if the caller's own
    /// closure failed.
    #[non_exhaustive]
    Save {
        /// Which of these it was.
        kind: SaveKind,
        /// One document; several for a transaction.
        documents: &'a [DocumentName<'a>],
        /// The tasks that the caller passed.
        tasks: &'a [String],
        /// For a save, a transaction and a deletion, this excludes the wait for the lock. For an
        /// update, it includes all tries and waits.
        duration: Duration,
        /// Requests to the server that it waited for. Without scripts
        /// ([`Engine::Watch`](crate::Engine::Watch)) each takes more than one exchange.
        round_trips: u32,
        /// How often the file was no longer the one that was read. An update then retries.
        conflicts: u32,
        /// The outcome, or an error if it was refused and nothing was written.
        /// [`Reason::of`](super::Reason::of) classifies errors.
        outcome: Result<&'a Outcome, &'a Error>,
    },
    /// [`Cache::invalidate`](crate::Cache::invalidate) or
    /// [`invalidate_around`](crate::Cache::invalidate_around) ended.
    #[non_exhaustive]
    Invalidation {
        /// The tasks that the caller passed.
        tasks: &'a [String],
        /// For [`invalidate_around`](crate::Cache::invalidate_around), this covers its last step
        /// only, after the caller's change.
        duration: Duration,
        /// The outcome.
        outcome: &'a CacheOutcome,
    },
    /// [`Cache::get_or_load`](crate::Cache::get_or_load) ended. A future of it that is dropped
    /// makes no event; nor do `get`, `put` and reads of documents.
    #[non_exhaustive]
    Load {
        /// The controller of the value.
        controller: &'a str,
        /// The entry's key.
        key: &'a str,
        /// Includes the wait for other loaders, and the loader.
        duration: Duration,
        /// Where the value came from, and whether it was filled.
        outcome: LoadOutcome,
    },
    /// A lock was found to be lost while its guard held it.
    #[non_exhaustive]
    LockLost {
        /// The document's name. If a transaction's commit found the loss, all its documents' names,
        /// since it does not know which lock it was.
        document: &'a str,
        /// How it was lost.
        why: &'static str,
    },
    /// Records of this outbox, or of dead processes' outboxes, were replayed, or could not be. A
    /// look that finds nothing to do makes no event.
    #[non_exhaustive]
    Replay {
        /// Records that the server acknowledged.
        records: u64,
        /// Records that remain.
        left: u64,
        /// The total of all requests.
        duration: Duration,
        /// Why some remain.
        cause: Option<&'a Error>,
    },
    /// The circuit breaker of a server, or of a range of a Cluster's slots, changed its state.
    #[non_exhaustive]
    Breaker {
        /// The new state.
        state: BreakerState,
    },
    /// Other rules came into force, or were refused.
    #[non_exhaustive]
    Rules {
        /// An error if the old rules stay in force.
        outcome: Result<(), &'a Error>,
    },
    /// A server had replaced the one that took the last changes, so they were sent to it again.
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
    /// The run, which names its folder.
    pub run: &'a str,
    /// The controller.
    pub controller: &'a str,
    /// `run/controller[sku=tea]`, as in messages.
    pub name: &'a str,
}

/// The result of a request for a lock.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum LockOutcome<'a> {
    /// The server granted it.
    Acquired,
    /// The sidecar's OS lock was used instead ([`WhileAway::OsLock`](crate::WhileAway::OsLock)).
    AcquiredWhileAway,
    /// Another holder had it for as long as the caller would wait; for `try_lock`, at that moment.
    /// The error names the holder.
    TimedOut(&'a Error),
    /// The future that waited for it was dropped.
    Abandoned,
    /// It was refused: an unreachable server, no such document, a `READONLY` marker.
    Refused(&'a Error),
}

/// What kind of operation saved.
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
    /// It was loaded and filled for others.
    Filled,
    /// It was loaded but not filled, because the entry was changed meanwhile.
    FillRefused,
    /// It was loaded but not filled, because somebody else is loading it, or the server did not
    /// answer.
    NotFilled,
    /// There is no value: its loader failed, for example.
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

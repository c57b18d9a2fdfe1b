use crate::model::{Effect, Error};

/// What an acknowledged save came to. The file has the new content in every case.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// What became of the entries on the server.
    pub cache: CacheOutcome,
    /// Whether the new content would survive a power loss.
    pub durability: Durability,
    /// Whether what happened on the server was one step.
    pub reach: Reach,
    /// Replicas that had the commit when the wait that [`Save::wait_replicas`](crate::Save::wait_replicas) asks for ended;
    /// `None` where none was asked for, nothing was committed, or the server did not say.
    pub replicas: Option<u64>,
}

/// Whether what a save does on the server was one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reach {
    /// One atomic step for everything.
    Atomic,
    /// Dependents in other hash slots of a Cluster were deleted after the own entry's step
    /// ([`CrossSlot::Split`](crate::CrossSlot::Split)).
    Split,
}

/// What became of the entries on the server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CacheOutcome {
    /// In one atomic step: the own entry set, the dependents deleted, the lock released.
    Committed {
        /// Dependents that were there and are gone; 0 where only the repeat of a lost reply was answered. A crash-safe save
        /// has deleted them before its file changed, so it counts only what was set meanwhile.
        removed: u64,
    },
    /// The own entry and the dependents are deleted, and nothing was set: the lock was lost meanwhile; or the server
    /// refused the commit (it is full, or the document is bigger than any value that it takes) but not the deletion; or an
    /// update has not found the entry of the file that it replaced. Readers go to the file.
    Invalidated {
        /// Entries that were there and are gone.
        removed: u64,
    },
    /// The server did not take it, or did not say so. It is recorded in the outbox, synced, and will be done as soon as the
    /// server answers, by this process or another. Until then readers of the document are right, since they compare stamps;
    /// dependents may be stale.
    Deferred {
        /// Why the server did not take it. Its [effect](Error::effect) is of all steps and tries together.
        cause: Error,
    },
    /// The same, and it could not be recorded either. While this process lives it still tries; else dependents may be stale
    /// until their TTL.
    Unrecorded {
        /// Why the server did not take it.
        cause: Error,
        /// Why the outbox did not.
        outbox: Error,
    },
}

impl CacheOutcome {
    /// Both steps' outcome: put off where one of them was.
    pub(crate) fn and(self, next: Self) -> Self {
        match (self, next) {
            (unrecorded @ Self::Unrecorded { .. }, _)
            | (_, unrecorded @ Self::Unrecorded { .. }) => unrecorded,
            (Self::Deferred { cause: first }, Self::Deferred { cause }) => Self::Deferred {
                cause: first.with_effect_of(&cause),
            },
            // The other step had nothing to delete.
            (Self::Deferred { cause }, Self::Invalidated { removed: 0 })
            | (Self::Invalidated { removed: 0 }, Self::Deferred { cause }) => {
                Self::Deferred { cause }
            }
            (Self::Deferred { cause }, _) | (_, Self::Deferred { cause }) => Self::Deferred {
                cause: cause.effect_is(Effect::Unknown),
            },
            (
                Self::Committed { removed },
                Self::Invalidated { removed: more } | Self::Committed { removed: more },
            ) => Self::Committed {
                removed: removed + more,
            },
            (
                Self::Invalidated { removed },
                Self::Invalidated { removed: more } | Self::Committed { removed: more },
            ) => Self::Invalidated {
                removed: removed + more,
            },
        }
    }

    /// The same after a try that failed with that.
    pub(crate) fn with_effect_of(self, earlier: &Error) -> Self {
        match self {
            Self::Deferred { cause } => Self::Deferred {
                cause: cause.with_effect_of(earlier),
            },
            Self::Unrecorded { cause, outbox } => Self::Unrecorded {
                cause: cause.with_effect_of(earlier),
                outbox,
            },
            settled => settled,
        }
    }

    /// A stable name, for labels: `committed`, `invalidated`, `deferred`, `unrecorded`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Committed { .. } => "committed",
            Self::Invalidated { .. } => "invalidated",
            Self::Deferred { .. } => "deferred",
            Self::Unrecorded { .. } => "unrecorded",
        }
    }

    /// Whether the entries are known to be right: committed or invalidated.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Committed { .. } | Self::Invalidated { .. })
    }
}

/// Whether the new content would survive a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// The file and the folder that names it were synced.
    Synced,
    /// The file was synced and renamed, so everybody sees it; syncing the folder failed, or its file system cannot sync folders (some
    /// in user space and on networks): then every save, creation, deletion and transaction there says so, and after a power loss a
    /// transaction may be there in part.
    Unknown,
    /// A transaction's: it is committed by its synced journal, but a file could not be renamed, so readers may see some documents
    /// new and some old. Whoever comes next to one of the documents tries again, before anything else.
    Journalled,
}

impl Durability {
    /// Of two steps: known where both are.
    pub(crate) fn and(self, next: Self) -> Self {
        match self {
            Self::Synced => next,
            lacking => lacking,
        }
    }
}

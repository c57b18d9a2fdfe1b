use crate::model::{Effect, Error, counted};
use std::fmt;

/// The result of an acknowledged save. The file has the new content in every case.
///
/// `Display` gives one line: `committed, 2 dependents deleted`, and what is unusual about the rest.
///
/// # Examples
///
/// ```
/// # use cachetx::{Cache, Document, Params, Rules, Store};
/// # let folder = tempfile::tempdir()?;
/// # let cache = Cache::builder(Rules::from_path("rules/shop.json")?).in_memory().open()?;
/// # let store = Store::builder(&cache).root(folder.path()).run_param("shop_id")
/// #     .layout_of("product", "{shop_id}/product-{sku}.json").open()?;
/// # let sku = Params::new().with("sku", "tea");
/// # let tea: Document<serde_json::Value> = store.document_with("main-street", "product", sku)?;
/// # tea.create(&serde_json::json!({ "cents": 400 }))?;
/// let (_, outcome) = tea.update(["reprice"], |tea| {
///     tea["cents"] = 500.into();
///     Ok(())
/// })?;
/// assert!(outcome.cache.is_settled());
/// assert_eq!(outcome.durability, cachetx::Durability::Synced);
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// What happened to the entries on the server.
    pub cache: CacheOutcome,
    /// Whether the new content would survive a power loss.
    pub durability: Durability,
    /// Whether the change on the server was one atomic step.
    pub reach: Reach,
    /// Number of replicas that had the commit when the wait requested by
    /// [`Save::wait_replicas`](crate::Save::wait_replicas) ended. `None` if no wait was requested,
    /// nothing was committed, or the server did not say.
    pub replicas: Option<u64>,
}

/// Whether a save's change on the server is one step.
///
/// # Examples
///
/// ```
/// # use cachetx::{Cache, Document, Params, Rules, Store};
/// # let folder = tempfile::tempdir()?;
/// # let cache = Cache::builder(Rules::from_path("rules/shop.json")?).in_memory().open()?;
/// # let store = Store::builder(&cache).root(folder.path()).run_param("shop_id")
/// #     .layout_of("product", "{shop_id}/product-{sku}.json").open()?;
/// # let sku = Params::new().with("sku", "tea");
/// # let tea: Document<serde_json::Value> = store.document_with("main-street", "product", sku)?;
/// # tea.create(&serde_json::json!({ "cents": 400 }))?;
/// let outcome = tea.lock()?.dump_and_unlock()?;
/// println!("{:?}", outcome.reach); // one server: always `Atomic` if it was reached
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reach {
    /// One atomic step for everything.
    Atomic,
    /// Dependents in other hash slots of a Cluster were deleted after the own entry's step
    /// ([`CrossSlot::Split`](crate::CrossSlot::Split)). If the outcome is not settled, the outbox
    /// has the steps that failed.
    Split,
    /// Nothing is known to be done on the server: the outcome is [`CacheOutcome::Deferred`] or
    /// [`CacheOutcome::Unrecorded`].
    Pending,
}

impl Reach {
    /// The reach of a save with one step on the server, or with several.
    pub(super) fn of(split: bool, outcome: &CacheOutcome) -> Self {
        match (split, outcome.is_settled()) {
            (true, _) => Self::Split,
            (false, true) => Self::Atomic,
            (false, false) => Self::Pending,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.cache, f)?;
        match self.reach {
            Reach::Split => f.write_str(", in several steps")?,
            Reach::Atomic | Reach::Pending => {}
        }
        if let Some(replicas) = self.replicas {
            write!(f, ", on {}", counted(replicas, "replica", "replicas"))?;
        }
        match self.durability {
            Durability::Synced => Ok(()),
            Durability::Unknown => f.write_str(", not known to be durable"),
            Durability::Journalled => f.write_str(", some files not replaced yet"),
        }
    }
}

/// What happened to the entries on the server.
///
/// # Examples
///
/// ```
/// # use cachetx::{Cache, Document, Params, Rules, Store};
/// # let folder = tempfile::tempdir()?;
/// # let cache = Cache::builder(Rules::from_path("rules/shop.json")?).in_memory().open()?;
/// # let store = Store::builder(&cache).root(folder.path()).run_param("shop_id")
/// #     .layout_of("product", "{shop_id}/product-{sku}.json").open()?;
/// # let sku = Params::new().with("sku", "tea");
/// # let tea: Document<serde_json::Value> = store.document_with("main-street", "product", sku)?;
/// # tea.create(&serde_json::json!({ "cents": 400 }))?;
/// use cachetx::CacheOutcome;
///
/// let shop = Params::new().with("shop_id", "main-street");
/// match cache.invalidate(["sell"], &shop)? {
///     CacheOutcome::Invalidated { removed } => assert_eq!(removed, 0),
///     other => println!("not now: {other:?}"),
/// }
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CacheOutcome {
    /// One atomic step set the own entry, deleted the dependents and released the lock.
    Committed {
        /// Number of dependents that existed and were deleted; 0 if this answers only the retry of
        /// a commit whose reply was lost. A crash-safe save deletes dependents before its file
        /// changes, so it counts only those set since then.
        removed: u64,
    },
    /// The own entry and the dependents were deleted, and nothing was set. Either the lock was lost
    /// meanwhile; or the server refused the commit (it is full, or the document is bigger than any
    /// value it takes) but not the deletion; or an update did not find the entry of the file that
    /// it replaced. Readers use the file.
    Invalidated {
        /// Number of entries that existed and were deleted. A crash-safe save and
        /// [`Cache::invalidate_around`](crate::Cache::invalidate_around) delete entries before the
        /// change too; this counts only those deleted after it.
        removed: u64,
    },
    /// The server did not take the step, or did not confirm it. It is recorded in the outbox,
    /// synced, and will be done as soon as the server answers, by this process or another. Until
    /// then readers of the document get the right content, since they compare stamps; dependents
    /// may be stale.
    Deferred {
        /// Why the server did not take it. Its [effect](Error::effect) covers all steps and tries
        /// together.
        cause: Error,
    },
    /// As `Deferred`, but it could not be recorded either. This process retries while it lives;
    /// otherwise dependents may be stale until their TTL.
    Unrecorded {
        /// Why the server did not take it.
        cause: Error,
        /// Why the outbox did not take it.
        outbox: Error,
    },
}

impl fmt::Display for CacheOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Committed { removed } => {
                let dependents = counted(*removed, "dependent", "dependents");
                write!(f, "committed, {dependents} deleted")
            }
            Self::Invalidated { removed } => {
                let entries = counted(*removed, "entry", "entries");
                write!(f, "invalidated, {entries} deleted")
            }
            Self::Deferred { cause } => write!(f, "deferred to the outbox: {cause}"),
            Self::Unrecorded { cause, outbox } => {
                write!(f, "not done and not recorded: {cause}; {outbox}")
            }
        }
    }
}

impl CacheOutcome {
    /// The outcome of both steps: deferred if one of them was.
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

    /// The same outcome after an earlier try that failed with this error.
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
///
/// # Examples
///
/// ```
/// # use cachetx::{Cache, Document, Params, Rules, Store};
/// # let folder = tempfile::tempdir()?;
/// # let cache = Cache::builder(Rules::from_path("rules/shop.json")?).in_memory().open()?;
/// # let store = Store::builder(&cache).root(folder.path()).run_param("shop_id")
/// #     .layout_of("product", "{shop_id}/product-{sku}.json").open()?;
/// # let sku = Params::new().with("sku", "tea");
/// # let tea: Document<serde_json::Value> = store.document_with("main-street", "product", sku)?;
/// # tea.create(&serde_json::json!({ "cents": 400 }))?;
/// let outcome = tea.lock()?.dump_and_unlock()?;
/// if outcome.durability != cachetx::Durability::Synced {
///     eprintln!("saved, but a power loss might undo it");
/// }
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// The file and the folder that names it were synced.
    Synced,
    /// The file was synced and renamed, so it is visible. But syncing the folder failed, or its
    /// file system cannot sync folders (some in user space and on networks); then every save,
    /// creation, deletion and transaction there returns this, and after a power loss a transaction
    /// may be there in part.
    Unknown,
    /// For transactions only: the synced journal commits it, but a file could not be renamed, so
    /// readers may see some documents new and some old. The next process that uses one of the
    /// documents retries, before anything else.
    Journalled,
}

impl Durability {
    /// The durability of two steps: known only if both are.
    pub(crate) fn and(self, next: Self) -> Self {
        match self {
            Self::Synced => next,
            lacking => lacking,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::error::Kind;

    fn cause() -> Error {
        let message = "no reply in time".to_owned();
        Error::new(Kind::Unavailable { message })
    }

    #[test]
    fn outcomes_are_shown_in_one_line() {
        let of = |cache| Outcome {
            reach: Reach::of(false, &cache),
            cache,
            durability: Durability::Synced,
            replicas: None,
        };
        let usual = of(CacheOutcome::Committed { removed: 2 });
        assert_eq!(usual.reach, Reach::Atomic);
        assert_eq!(usual.to_string(), "committed, 2 dependents deleted");
        let unusual = Outcome {
            reach: Reach::Split,
            durability: Durability::Unknown,
            replicas: Some(1),
            ..of(CacheOutcome::Invalidated { removed: 1 })
        };
        assert_eq!(
            unusual.to_string(),
            "invalidated, 1 entry deleted, in several steps, on 1 replica, not known to be durable"
        );
        let deferred = of(CacheOutcome::Deferred { cause: cause() });
        assert_eq!(deferred.reach, Reach::Pending);
        assert_eq!(
            deferred.to_string(),
            "deferred to the outbox: the server is unavailable: no reply in time"
        );
    }
}

//! The crate's one opaque error: what failed, what it may have changed, and what to do.

mod problem;

pub use problem::Problem;

use crate::model::{limits, lock::LockHolder};
use std::{
    error::Error as StdError,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The crate's result. The error is [`Error`] unless another type is given.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error that a caller's closure returns; `?` converts all of them.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// What went wrong. Cheap to clone; the predicates tell the cases apart.
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
/// let held = tea.lock()?;
/// let error = tea.try_lock().expect_err("it is held");
/// assert!(error.is_lock_held() && error.is_retryable());
/// assert_eq!(error.effect(), cachetx::Effect::None);
/// println!("{error}"); // names the holder and the time left
/// # drop(held);
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone)]
pub struct Error {
    kind: Arc<Kind>,
    effect: Effect,
}

/// What the failed call may have changed, and so whether a retry is safe.
///
/// # Examples
///
/// ```
/// use cachetx::{Effect, Rules};
///
/// let error = Rules::from_json("{}").expect_err("it lacks all fields");
/// assert_eq!(error.effect(), Effect::None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// Nothing was changed.
    None,
    /// The change was made; only what follows it failed.
    Applied,
    /// It is not known whether the change was made.
    Unknown,
}

/// The cases. Private, so that more can be added; predicates tell them apart.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Kind {
    #[error("{}", problem::Listing(.0))]
    Rules(Vec<Problem>),
    #[error("{0}")]
    Params(String),
    #[error("{0}")]
    Config(String),
    #[error("{what} `{name}` {why}")]
    Name {
        what: &'static str,
        name: String,
        why: String,
    },
    #[error("the lock of {document} is held by {holder}")]
    LockHeld {
        document: String,
        holder: LockHolder,
    },
    #[error("{document}: the lock is no longer held by this guard ({why}); nothing was written")]
    LockLost { document: String, why: &'static str },
    #[error(
        "{document}: conflict, the file was changed by somebody else since this guard read it; nothing was written"
    )]
    Conflict { document: String },
    #[error(
        "{document}: somebody else saved it during each of {tries} tries to update it; nothing was written"
    )]
    Overtaken { document: String, tries: u32 },
    #[error(
        "{document}: fenced, a later holder of the lock (fence {stored}) has saved since this guard got fence {own}; nothing was written"
    )]
    Fenced {
        document: String,
        own: u64,
        stored: u64,
    },
    #[error("{folder}: holds a READONLY marker, which forbids locks and writes")]
    ReadOnly { folder: String },
    #[error("{document}: no such document")]
    NotFound { document: String },
    #[error("{document}: the document exists already")]
    AlreadyExists { document: String },
    #[error("{document}: {message}")]
    Document { document: String, message: String },
    #[error(
        "{document}: {bytes} bytes are over the limit of {limit} (StoreBuilder::max_document_bytes)"
    )]
    TooLarge {
        document: String,
        bytes: u64,
        limit: u64,
    },
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        path: PathBuf,
        action: &'static str,
        source: std::io::Error,
    },
    #[error("the outbox {0}")]
    Outbox(String),
    #[error(
        "`{}` (hash slot {}) and `{}` (hash slot {}) cannot be in one step of a Cluster: give their keys one hash tag, or see CrossSlot::Split; nothing was written",
        first.0, first.1, second.0, second.1
    )]
    CrossSlot {
        first: (String, u16),
        second: (String, u16),
    },
    #[error("the server is unavailable: {message}")]
    Unavailable { message: String },
    /// The server is not asked for another `left`, because the circuit breaker is open.
    #[error(
        "the server is unavailable: it did not answer the last {} times, and is not asked again for {} ms (circuit breaker)",
        limits::BREAKER_FAILURES, .left.as_millis()
    )]
    LeftAlone { left: Duration },
    /// All connections of this process are in use; the server may be healthy.
    #[error("the server is unavailable: {} in use", all_of(*connections))]
    AllInUse { connections: u32 },
    /// `frees`: it still takes commands that free memory.
    #[error("the server takes no writes now: {message}")]
    NoWrites { message: String, frees: bool },
    #[error("the server refused: {message}")]
    Server { message: String },
    #[error("{operation}: other clients changed the same keys during each of {attempts} attempts")]
    Contended {
        operation: &'static str,
        attempts: u32,
    },
    #[error(
        "{name}: loaded or updated again inside of its own load or update, by the same thread, which would wait for itself; let the inner code use what the outer one has read, or give the inner one another key"
    )]
    Nested { name: String },
    #[error("{document}: another process held the sidecar's OS lock for over {} s; nothing was written", .waited.as_secs())]
    SidecarBusy { document: String, waited: Duration },
    /// The future that waited for the lock was dropped.
    #[error("nobody waits for the lock any more")]
    #[cfg_attr(
        not(any(feature = "tokio", all(test, feature = "testing"))),
        expect(dead_code)
    )]
    Abandoned,
    #[error("{0}")]
    Caller(BoxError),
    #[error("a bug in cachetx: {0}")]
    Internal(String),
}

impl Error {
    pub(crate) fn new(kind: Kind) -> Self {
        Self::with_effect(kind, Effect::None)
    }

    pub(crate) fn with_effect(kind: Kind, effect: Effect) -> Self {
        Self {
            kind: Arc::new(kind),
            effect,
        }
    }

    /// The same error with another effect.
    pub(crate) fn effect_is(self, effect: Effect) -> Self {
        Self { effect, ..self }
    }

    /// The same error, if another one came before or after it: what that one may have changed, this
    /// one may have too.
    pub(crate) fn with_effect_of(self, other: &Self) -> Self {
        match other.effect {
            Effect::None => self,
            Effect::Applied | Effect::Unknown => self.effect_is(Effect::Unknown),
        }
    }

    /// Whether the server that refused this may still take operations that only read.
    pub(crate) fn takes_reads(&self) -> bool {
        matches!(self.kind(), Kind::Server { .. } | Kind::NoWrites { .. })
    }

    /// Whether it may still take operations that only delete.
    pub(crate) fn takes_deletions(&self) -> bool {
        matches!(
            self.kind(),
            Kind::Server { .. } | Kind::NoWrites { frees: true, .. }
        )
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Whether the rules file has problems; [`Error::problems`] lists them.
    #[must_use]
    pub fn is_rules(&self) -> bool {
        matches!(self.kind(), Kind::Rules(_))
    }

    /// Whether a task, a controller or a param does not fit the rules.
    #[must_use]
    pub fn is_params(&self) -> bool {
        matches!(self.kind(), Kind::Params(_))
    }

    /// Whether a builder was given a configuration that cannot work.
    #[must_use]
    pub fn is_config(&self) -> bool {
        matches!(self.kind(), Kind::Config(_))
    }

    /// Whether keys that must be in one step are in several hash slots of a Cluster. Nothing was
    /// written.
    #[must_use]
    pub fn is_cross_slot(&self) -> bool {
        matches!(self.kind(), Kind::CrossSlot { .. })
    }

    /// Whether a run id or another name is not valid as part of a path.
    #[must_use]
    pub fn is_invalid_name(&self) -> bool {
        matches!(self.kind(), Kind::Name { .. })
    }

    /// Whether another holder has the lock; [`Error::lock_holder`] names it.
    #[must_use]
    pub fn is_lock_held(&self) -> bool {
        matches!(self.kind(), Kind::LockHeld { .. })
    }

    /// Whether the guard's lock ran out or was taken away.
    #[must_use]
    pub fn is_lock_lost(&self) -> bool {
        matches!(self.kind(), Kind::LockLost { .. })
    }

    /// Whether the file is not the one that the guard, or each try of an update, had read.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self.kind(), Kind::Conflict { .. } | Kind::Overtaken { .. })
    }

    /// Whether a later holder of the lock has saved already.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        matches!(self.kind(), Kind::Fenced { .. })
    }

    /// Whether a `READONLY` marker forbade it.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        matches!(self.kind(), Kind::ReadOnly { .. })
    }

    /// Whether the document does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self.kind(), Kind::NotFound { .. })
    }

    /// Whether the document existed already.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        matches!(self.kind(), Kind::AlreadyExists { .. })
    }

    /// Whether the document's text or value cannot be used: not JSON, `NaN`, or a shape that does
    /// not fit `T`.
    #[must_use]
    pub fn is_document(&self) -> bool {
        matches!(self.kind(), Kind::Document { .. })
    }

    /// Whether the document is over the store's size limit.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        matches!(self.kind(), Kind::TooLarge { .. })
    }

    /// Whether a value's loader requested that very value, a document's `Deserialize` read that
    /// very document, or an update's closure updated that very document: the thread would have
    /// waited for itself. A bug in the program.
    #[must_use]
    pub fn is_nested(&self) -> bool {
        matches!(self.kind(), Kind::Nested { .. })
    }

    /// Whether a file operation failed.
    #[must_use]
    pub fn is_io(&self) -> bool {
        matches!(self.kind(), Kind::Io { .. })
    }

    /// Whether another process kept a document's files busy for too long.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(self.kind(), Kind::SidecarBusy { .. })
    }

    /// Whether the outbox has no folder or no room.
    #[must_use]
    pub fn is_outbox(&self) -> bool {
        matches!(self.kind(), Kind::Outbox(_))
    }

    /// Whether the server could not be reached, did not answer in time, or cannot take the request
    /// now, from any client: it loads its data, follows another server, runs a slow script, has no
    /// connection free, is full, cannot persist (`MISCONF`) or lacks replicas.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(
            self.kind(),
            Kind::Unavailable { .. }
                | Kind::LeftAlone { .. }
                | Kind::AllInUse { .. }
                | Kind::NoWrites { .. }
        )
    }

    /// Whether the future that waited for it was dropped.
    pub(crate) fn is_abandoned(&self) -> bool {
        matches!(self.kind(), Kind::Abandoned)
    }

    /// Whether the server was not asked because the circuit breaker is open. It may answer the next
    /// probe.
    pub(crate) fn is_left_alone(&self) -> bool {
        matches!(self.kind(), Kind::LeftAlone { .. })
    }

    /// Whether the call reached no server, because this process has all its connections in use.
    pub(crate) fn is_all_in_use(&self) -> bool {
        matches!(self.kind(), Kind::AllInUse { .. })
    }

    /// Whether the server refused the request itself: for example this user may not make it, or a
    /// key holds another type.
    #[must_use]
    pub fn is_server(&self) -> bool {
        matches!(self.kind(), Kind::Server { .. })
    }

    /// Whether the Watch engine gave up because other clients changed the same keys during each of
    /// its attempts. The message says how many attempts there were.
    #[must_use]
    pub fn is_contended(&self) -> bool {
        matches!(self.kind(), Kind::Contended { .. })
    }

    /// Whether the same call may succeed later without any repair: another holder has the lock or
    /// the files, another writer was faster, or the server is unreachable.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.effect() != Effect::Applied
            && (self.is_lock_held()
                || self.is_unavailable()
                || self.is_busy()
                || self.is_contended()
                || matches!(self.kind(), Kind::Overtaken { .. }))
    }

    /// What the failed call may have changed.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// The lock's holder, and for how long, if that was the reason.
    #[must_use]
    pub fn lock_holder(&self) -> Option<&LockHolder> {
        match self.kind() {
            Kind::LockHeld { holder, .. } => Some(holder),
            _ => None,
        }
    }

    /// All problems of the rules file; empty for other errors. Past 100 problems, one more says how
    /// many are not listed.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        match self.kind() {
            Kind::Rules(problems) => problems,
            _ => &[],
        }
    }

    /// The closure's own error, if the caller's closure failed.
    #[must_use]
    pub fn caller(&self) -> Option<&(dyn StdError + 'static)> {
        match self.kind() {
            Kind::Caller(e) => Some(&**e),
            _ => None,
        }
    }
}

fn all_of(connections: u32) -> String {
    match connections {
        1 => "the one connection is".to_owned(),
        several => format!("all {several} connections are"),
    }
}

/// A failed file operation as this crate's error.
pub(crate) fn io_error(path: &Path, action: &'static str, source: std::io::Error) -> Error {
    Error::new(Kind::Io {
        path: path.to_owned(),
        action,
        source,
    })
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.kind(), f)
    }
}

/// Shows the message, because `main` and `unwrap` print errors by `Debug`.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} (effect: {:?})", self.effect)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.kind().source()
    }
}

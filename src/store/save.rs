use super::Locked;
use crate::{
    model::{Error, limits},
    op::Wait,
    protocol::Guarantee,
    rules::Params,
};
use std::{fmt, time::Duration};

/// What one save says beyond the document: its tasks, and params that only it has.
///
/// # Examples
///
/// ```
/// use cachetx::{Params, Save};
///
/// let save = Save::new()
///     .tasks(["build_climate"])
///     .params(Params::new().with("scenario", ["burned", "unburned"]));
/// # let _ = save;
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "it is an argument of a save"]
pub struct Save {
    pub(super) tasks: Vec<String>,
    pub(super) params: Params,
    /// `None`: as the store says.
    pub(super) wait: Option<Wait>,
    /// `None`: as the store says.
    pub(super) guarantee: Option<Guarantee>,
}

impl Save {
    /// A save without tasks: only what depends on the document itself is deleted.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds tasks whose rules say what is out of date afterwards.
    pub fn tasks(mut self, tasks: impl IntoIterator<Item: AsRef<str>>) -> Self {
        let tasks = tasks.into_iter().map(|task| task.as_ref().to_owned());
        self.tasks.extend(tasks);
        self
    }

    /// Params for the tasks' keys, before those of the document where both have a name. The document's own names stay.
    pub fn params(mut self, params: Params) -> Self {
        self.params = params;
        self
    }

    /// What this save promises about dependents should the process die in the middle of it; by default as the store says
    /// ([`StoreBuilder::guarantee`](crate::StoreBuilder::guarantee)).
    pub fn guarantee(mut self, guarantee: Guarantee) -> Self {
        self.guarantee = Some(guarantee);
        self
    }

    /// Waits after the commit until so many replicas have it, or the time is over: a failover to one of them then forgets
    /// nothing of it. `time` is clamped to 1 ms to 60 s; no replicas is no wait. By default as the store says
    /// ([`StoreBuilder::wait_replicas`](crate::StoreBuilder::wait_replicas)).
    ///
    /// [`Outcome::replicas`](crate::Outcome::replicas) says how many had it in time; too few is no failure.
    pub fn wait_replicas(mut self, replicas: u32, time: Duration) -> Self {
        self.wait = Some(wait(replicas, time));
        self
    }

    /// What it says of replicas, or else the store; `None` where none are waited for.
    pub(super) fn wait_or(&self, stores: Option<Wait>) -> Option<Wait> {
        self.wait.or(stores).filter(|wait| wait.replicas > 0)
    }
}

pub(super) fn wait(replicas: u32, time: Duration) -> Wait {
    Wait {
        replicas,
        time: time.clamp(limits::MIN_REPLICA_WAIT, limits::MAX_REPLICA_WAIT),
    }
}

/// A save that failed before it changed anything: the error, and the guard back. The lock is still held, so the data is
/// not lost and the save may be tried again; dropping it, or turning it into an [`Error`] with `?`, lets the lock go.
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
/// let mut held = tea.lock()?;
/// held["cents"] = 500.into();
/// if let Err(failed) = held.dump_and_unlock() {
///     eprintln!("not saved: {failed}");
///     let held = failed.into_locked(); // with its data; to retry
/// #   drop(held);
/// }
/// # Ok::<(), cachetx::BoxError>(())
/// ```
pub struct SaveError<T>(Box<(Error, Locked<T>)>);

impl<T> SaveError<T> {
    pub(super) fn new(error: Error, locked: Locked<T>) -> Self {
        Self(Box::new((error, locked)))
    }

    /// Why nothing was saved.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.0.0
    }

    /// The error and the guard.
    pub fn into_parts(self) -> (Error, Locked<T>) {
        *self.0
    }

    /// The guard, to try again.
    pub fn into_locked(self) -> Locked<T> {
        self.0.1
    }

    /// The data; the lock is let go.
    #[must_use]
    pub fn into_value(self) -> T {
        Locked::unlock(self.0.1)
    }
}

impl<T> fmt::Debug for SaveError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.error(), f)
    }
}

impl<T> fmt::Display for SaveError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.error(), f)
    }
}

impl<T> std::error::Error for SaveError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error().source()
    }
}

/// Keeps the error and lets the lock go.
impl<T> From<SaveError<T>> for Error {
    fn from(failed: SaveError<T>) -> Self {
        failed.0.0
    }
}

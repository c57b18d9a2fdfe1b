use super::Locked;
use crate::{
    model::{Error, limits},
    op::Wait,
    protocol::Guarantee,
    rules::Params,
};
use std::{fmt, time::Duration};

/// The options of one save: its tasks, and params for this save only.
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
    /// `None`: the store's.
    pub(super) wait: Option<Wait>,
    /// `None`: the store's.
    pub(super) guarantee: Option<Guarantee>,
}

impl Save {
    /// A save without tasks: deletes only the document's own dependents.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds tasks whose rules determine what the save makes out of date.
    pub fn tasks(mut self, tasks: impl IntoIterator<Item: AsRef<str>>) -> Self {
        let tasks = tasks.into_iter().map(|task| task.as_ref().to_owned());
        self.tasks.extend(tasks);
        self
    }

    /// Params for the tasks' keys. They override params of the document with the same name, but not
    /// the document's own names.
    pub fn params(mut self, params: Params) -> Self {
        self.params = params;
        self
    }

    /// What this save guarantees about dependents if the process dies midway; by default the
    /// store's ([`StoreBuilder::guarantee`](crate::StoreBuilder::guarantee)).
    pub fn guarantee(mut self, guarantee: Guarantee) -> Self {
        self.guarantee = Some(guarantee);
        self
    }

    /// After the commit, waits until this many replicas have it, or until `time` is over: a
    /// failover to one of them then loses nothing of it. `time` is clamped to 1 ms to 60 s; zero
    /// replicas means no wait. By default the store's
    /// ([`StoreBuilder::wait_replicas`](crate::StoreBuilder::wait_replicas)).
    ///
    /// [`Outcome::replicas`](crate::Outcome::replicas) is the number that had it in time; too few
    /// is not a failure.
    pub fn wait_replicas(mut self, replicas: u32, time: Duration) -> Self {
        self.wait = Some(wait(replicas, time));
        self
    }

    /// This save's wait for replicas, or else the store's; `None` for no wait.
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

/// A save that failed before it changed anything: the error and the guard. The lock is still held,
/// so the data is not lost and the save may be retried. Dropping it, or turning it into an
/// [`Error`] with `?`, releases the lock.
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

    /// The guard, to retry.
    pub fn into_locked(self) -> Locked<T> {
        self.0.1
    }

    /// The data; the lock is released.
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

/// Keeps the error and releases the lock.
impl<T> From<SaveError<T>> for Error {
    fn from(failed: SaveError<T>) -> Self {
        failed.0.0
    }
}

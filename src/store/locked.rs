use super::{LostLock, Save, SaveError, hold::Hold};
#[cfg(feature = "tokio")]
use crate::cache::Cache;
use crate::{engine::at_once, model::Result, protocol::Outcome};
use serde::Serialize;
use std::{
    fmt,
    ops::{Deref, DerefMut},
    time::Duration,
};

/// A locked document: the data, and the right to save it. Dropping it releases the lock without
/// saving.
///
/// It has no lifetime, so it can be moved anywhere. Methods other than the saves are associated
/// functions (`Locked::renew(&mut guard)`), so that they never hide a method of `T`.
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
/// use cachetx::{Locked, Save};
///
/// let mut held = tea.lock()?;
/// held["cents"] = 500.into();
/// Locked::dump(&mut held, Save::new().tasks(["reprice"]))?; // saves and keeps the lock
/// held["cents"] = 600.into();
/// Locked::unlock(held); // releases the lock without a save
/// assert_eq!(tea.read()?["cents"], 500);
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[must_use = "dropping it releases the lock without saving"]
pub struct Locked<T> {
    value: T,
    hold: Hold,
}

impl<T> Locked<T> {
    pub(super) fn new(value: T, hold: Hold) -> Self {
        Self { value, hold }
    }

    /// Releases the lock without saving, and returns the data.
    pub fn unlock(this: Self) -> T {
        let Self { value, hold } = this;
        drop(hold);
        value
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn cache(&self) -> &Cache {
        self.hold.cache()
    }

    #[cfg(feature = "tokio")]
    pub(crate) async fn unlock_by(self) -> T {
        self.hold.release_in_task().await;
        self.value
    }

    /// Renews the lock for its whole TTL. This is done in the background, unless the store says
    /// [`KeepAlive::Off`](crate::KeepAlive::Off).
    ///
    /// # Errors
    ///
    /// [`Error::is_lock_lost`](crate::Error::is_lock_lost) if it expired or was cleared; an
    /// unreachable server, which leaves it as it was.
    pub fn renew(this: &mut Self) -> Result<()> {
        at_once(this.renew_by())
    }

    pub(crate) async fn renew_by(&mut self) -> Result<()> {
        self.hold.renew().await
    }

    /// Whether the lock is known to be lost, or has expired by this machine's clock. A save then
    /// fails. A loss is detected in the background: at once if an operator clears the lock,
    /// otherwise within a third of its TTL; see [`Locked::on_lost`].
    #[must_use]
    pub fn is_lost(this: &Self) -> bool {
        Self::remaining(this).is_zero()
    }

    /// Calls `hook` as soon as the lock is found to be lost, in the thread that finds out; at once
    /// if it already is. Never called if the lock is released first. See
    /// [`StoreBuilder::on_lock_lost`](crate::StoreBuilder::on_lock_lost).
    ///
    /// # Examples
    ///
    /// ```
    /// # use cachetx::{Cache, Document, Locked, RawObject, Rules, Store};
    /// use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
    ///
    /// # let root = tempfile::tempdir()?;
    /// # let cache = Cache::builder(Rules::from_path("rules/nodb.json")?).in_memory().open()?;
    /// # let store = Store::builder(&cache).root(root.path()).open()?;
    /// # let climate: Document<RawObject> = store.document("copacetic-sled", "climate")?;
    /// # climate.create(&RawObject::from_json("{}")?)?;
    /// let mut held = climate.lock()?;
    /// let give_up = Arc::new(AtomicBool::new(false));
    /// let lost = give_up.clone();
    /// Locked::on_lost(&mut held, move |_| lost.store(true, Ordering::Relaxed));
    /// // … work that looks at `give_up` now and then …
    /// held.dump_and_unlock()?;
    /// # Ok::<(), cachetx::BoxError>(())
    /// ```
    pub fn on_lost(this: &mut Self, hook: impl FnOnce(&LostLock) + Send + 'static) {
        this.hold.on_lost(Box::new(hook));
    }

    /// The time that the lock lives at least, unless it is renewed.
    #[must_use]
    pub fn remaining(this: &Self) -> Duration {
        this.hold.remaining()
    }
}

impl<T: Serialize> Locked<T> {
    /// Writes the file, sets the entry, deletes the document's dependents by the rules'
    /// `depends_on`, and releases the lock.
    ///
    /// # Errors
    ///
    /// See [`Locked::dump_and_unlock_with`].
    pub fn dump_and_unlock(self) -> Result<Outcome, SaveError<T>> {
        self.dump_and_unlock_with(Save::new())
    }

    /// Like [`dump_and_unlock`](Self::dump_and_unlock), and deletes what the tasks make out of
    /// date, all in one atomic step on the server.
    ///
    /// # Errors
    ///
    /// See [`Locked::dump_and_unlock_with`].
    pub fn dump_and_unlock_with_transaction(
        self,
        tasks: impl IntoIterator<Item: AsRef<str>>,
    ) -> Result<Outcome, SaveError<T>> {
        self.dump_and_unlock_with(Save::new().tasks(tasks))
    }

    /// Like [`dump_and_unlock`](Self::dump_and_unlock), with all options of a [`Save`].
    ///
    /// # Errors
    ///
    /// Only before the new file is in place: an unknown task, data that JSON cannot represent
    /// (`NaN`), a full disk, an outbox that cannot record a crash-safe save ([`Error::is_outbox`]),
    /// a `READONLY` marker, or a guard that may no longer write ([`Error::is_conflict`],
    /// [`Error::is_fenced`], [`Error::is_lock_lost`]). Nothing was changed, and the error returns
    /// the guard. Once the file is in place, no failure of the server makes a save fail: see
    /// [`Outcome::cache`].
    ///
    /// [`Error::is_outbox`]: crate::Error::is_outbox
    /// [`Error::is_conflict`]: crate::Error::is_conflict
    /// [`Error::is_fenced`]: crate::Error::is_fenced
    /// [`Error::is_lock_lost`]: crate::Error::is_lock_lost
    pub fn dump_and_unlock_with(self, save: Save) -> Result<Outcome, SaveError<T>> {
        at_once(self.save_and_unlock(save))
    }

    pub(crate) async fn save_and_unlock(mut self, save: Save) -> Result<Outcome, SaveError<T>> {
        let bytes = self.hold.to_bytes(&self.value);
        let saved = self.hold.save(bytes, &save, true).await;
        saved.map_err(|e| SaveError::new(e, self))
    }

    /// Saves, keeps the lock, and gives the guard back.
    #[cfg(feature = "tokio")]
    pub(crate) async fn save(mut self, save: Save) -> Result<(Self, Outcome), SaveError<T>> {
        let bytes = self.hold.to_bytes(&self.value);
        match self.hold.save(bytes, &save, false).await {
            Ok(outcome) => Ok((self, outcome)),
            Err(e) => Err(SaveError::new(e, self)),
        }
    }

    /// Saves and keeps the lock.
    ///
    /// # Errors
    ///
    /// As [`Locked::dump_and_unlock_with`].
    pub fn dump(this: &mut Self, save: Save) -> Result<Outcome> {
        let bytes = this.hold.to_bytes(&this.value);
        at_once(this.hold.save(bytes, &save, false))
    }
}

impl<T> Deref for Locked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Locked<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Locked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locked")
            .field("document", &self.hold.document())
            .field("value", &self.value)
            .finish_non_exhaustive()
    }
}

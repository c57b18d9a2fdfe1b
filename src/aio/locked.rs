use super::Unsaved;
use crate::{
    engine::Net,
    model::{Error, Result},
    protocol::Outcome,
    store::{self, LostLock, Save},
};
use serde::Serialize;
use std::{
    fmt,
    ops::{Deref, DerefMut},
    time::Duration,
};

/// A [`crate::Locked`] for tasks: the data, and the right to save it. Dropping it releases the lock
/// without saving, in a thread of the cache; this needs no runtime.
///
/// A save whose future is dropped runs to completion; the guard is not returned then.
///
/// # Examples
///
/// ```
/// # use cachetx::{BoxError, Params, Rules, aio::{Cache, Document, Locked, Store}};
/// # #[tokio::main] async fn main() -> Result<(), BoxError> {
/// # let folder = tempfile::tempdir()?;
/// # let cache = Cache::builder(Rules::from_path("rules/shop.json")?).in_memory().open_async().await?;
/// # let store = Store::builder(cache.clone()).root(folder.path()).run_param("shop_id")
/// #     .layout_of("product", "{shop_id}/product-{sku}.json").open_async().await?;
/// # let sku = Params::new().with("sku", "tea");
/// # let tea: Document<serde_json::Value> = store.document_with("main-street", "product", sku)?;
/// # tea.create(&serde_json::json!({ "cents": 400 })).await?;
/// let mut held = tea.lock().await?;
/// held["cents"] = 500.into();
/// held.dump_and_unlock_with_transaction(["reprice"]).await?;
///
/// let held = tea.lock().await?;
/// Locked::unlock(held).await; // without a save
/// # Ok(()) }
/// ```
#[must_use = "dropping it releases the lock without saving"]
pub struct Locked<T>(store::Locked<T>);

impl<T> Locked<T> {
    /// The guard of a lock that a task has acquired.
    pub(super) fn of(locked: store::Locked<T>) -> Self {
        Self(locked)
    }

    /// As [`crate::Locked::unlock`]. The lock is free when this returns; after a drop it is free a
    /// moment later. If the future is dropped, the release runs to completion.
    pub async fn unlock(this: Self) -> T {
        this.0.unlock_by().await
    }

    /// As [`crate::Locked::renew`]. If the future is dropped, the lock may have been renewed.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn renew(this: &mut Self) -> Result<()> {
        this.0.renew_by().await
    }

    /// As [`crate::Locked::is_lost`].
    #[must_use]
    pub fn is_lost(this: &Self) -> bool {
        store::Locked::is_lost(&this.0)
    }

    /// As [`crate::Locked::on_lost`].
    pub fn on_lost(this: &mut Self, hook: impl FnOnce(&LostLock) + Send + 'static) {
        store::Locked::on_lost(&mut this.0, hook);
    }

    /// As [`crate::Locked::remaining`].
    #[must_use]
    pub fn remaining(this: &Self) -> Duration {
        store::Locked::remaining(&this.0)
    }
}

impl<T: Serialize + Send + 'static> Locked<T> {
    /// As [`crate::Locked::dump_and_unlock`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn dump_and_unlock(self) -> Result<Outcome, Unsaved<Self>> {
        self.dump_and_unlock_with(Save::new()).await
    }

    /// As [`crate::Locked::dump_and_unlock_with_transaction`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn dump_and_unlock_with_transaction(
        self,
        tasks: impl IntoIterator<Item: AsRef<str>>,
    ) -> Result<Outcome, Unsaved<Self>> {
        self.dump_and_unlock_with(Save::new().tasks(tasks)).await
    }

    /// As [`crate::Locked::dump_and_unlock_with`].
    ///
    /// # Errors
    ///
    /// As there. If the runtime shuts down meanwhile, the guard is not returned.
    pub async fn dump_and_unlock_with(self, save: Save) -> Result<Outcome, Unsaved<Self>> {
        let cache = self.0.cache().clone();
        let save = async move { Ok(self.0.save_and_unlock(save).await) };
        let saved = cache.to_its_end(Net::Tasks, save);
        Unsaved::or(saved.await, given_back)
    }

    /// As [`crate::Locked::dump`]: saves, keeps the lock, and returns the guard.
    ///
    /// # Errors
    ///
    /// As [`dump_and_unlock_with`](Self::dump_and_unlock_with).
    pub async fn dump(self, save: Save) -> Result<(Self, Outcome), Unsaved<Self>> {
        let cache = self.0.cache().clone();
        let save = async move { Ok(self.0.save(save).await) };
        let saved = cache.to_its_end(Net::Tasks, save);
        Unsaved::or(saved.await, given_back).map(|(locked, outcome)| (Self(locked), outcome))
    }
}

fn given_back<T>(failed: store::SaveError<T>) -> (Error, Locked<T>) {
    let (error, locked) = failed.into_parts();
    (error, Locked(locked))
}

impl<T> Deref for Locked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Locked<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Locked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

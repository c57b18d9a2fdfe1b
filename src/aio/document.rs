use super::Locked;
use crate::{
    engine::Net,
    model::{BoxError, Result},
    protocol::Outcome,
    rules::Params,
    store::{HeldLock, Save, Target},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, sync::Arc, time::Duration};

/// A [`crate::Document`] for tasks. Cheap to clone.
///
/// | method | effect of dropping its future |
/// | --- | --- |
/// | [`exists`](Self::exists), [`holder`](Self::holder), [`read`](Self::read) | none; a load that others wait for continues |
/// | [`lock`](Self::lock), [`try_lock`](Self::try_lock), [`lock_timeout`](Self::lock_timeout) | none: a lock that is still granted is released |
/// | [`update`](Self::update), [`update_with`](Self::update_with), [`locked`](Self::locked), [`locked_with`](Self::locked_with), [`create`](Self::create), [`delete`](Self::delete), [`clear_lock`](Self::clear_lock) | the call runs to completion |
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
/// let (before, outcome) = tea.update(["reprice"], |tea| {
///     Ok(std::mem::replace(&mut tea["cents"], 500.into()))
/// }).await?;
/// assert!(before == 400 && outcome.cache.is_settled());
/// assert_eq!(tea.read().await?["cents"], 500);
/// # Ok(()) }
/// ```
pub struct Document<T>(crate::Document<T>);

impl<T> Document<T> {
    /// As [`crate::Document::cache_key`].
    #[must_use]
    pub fn cache_key(&self) -> &str {
        self.0.cache_key()
    }

    /// As [`crate::Document::controller`].
    #[must_use]
    pub fn controller(&self) -> &str {
        self.0.controller()
    }

    /// As [`crate::Document::with_params`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn with_params(self, more: Params) -> Result<Self> {
        self.0.with_params(more).map(Self)
    }
}

impl<T: 'static> Document<T> {
    /// As [`crate::Document::exists`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn exists(&self) -> Result<bool> {
        let document = self.0.clone();
        self.0.cache().aside(move || document.exists()).await
    }

    /// As [`crate::Document::holder`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn holder(&self) -> Result<Option<HeldLock>> {
        let document = self.0.clone();
        self.0.cache().aside(move || document.holder()).await
    }

    /// As [`crate::Document::clear_lock`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn clear_lock(&self) -> Result<bool> {
        let document = self.0.clone();
        self.0.cache().aside(move || document.clear_lock()).await
    }

    /// As [`crate::Document::delete`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn delete(&self, tasks: impl IntoIterator<Item: AsRef<str>>) -> Result<Outcome> {
        let (document, deletion) = (self.0.clone(), self.0.deletion(tasks)?);
        let delete = async move { document.delete_by(Net::Tasks, &deletion).await };
        self.0.cache().to_its_end(Net::Tasks, delete).await
    }
}

impl<T: Serialize + 'static> Document<T> {
    /// As [`crate::Document::create`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn create(&self, value: &T) -> impl Future<Output = Result<Outcome>> + use<T> {
        let (document, bytes) = (self.0.clone(), self.0.bytes(value));
        async move {
            let cache = document.cache().clone();
            let create = async move { document.create_by(Net::Tasks, bytes?).await };
            cache.to_its_end(Net::Tasks, create).await
        }
    }
}

impl<T: DeserializeOwned + Send + 'static> Document<T> {
    /// As [`crate::Document::lock`]. A task that waits for a lock occupies no thread.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn lock(&self) -> Result<Locked<T>> {
        self.lock_timeout(self.0.lock_wait()).await
    }

    /// As [`crate::Document::try_lock`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn try_lock(&self) -> Result<Locked<T>> {
        self.lock_timeout(Duration::ZERO).await
    }

    /// As [`crate::Document::lock_timeout`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn lock_timeout(&self, wait: Duration) -> Result<Locked<T>> {
        let document = self.0.clone();
        let lock = async move { document.lock_by(Net::Tasks, wait).await };
        let locked = self.0.cache().while_wanted(Net::Tasks, lock);
        locked.await.map(Locked::of)
    }
}

impl<T: Serialize + DeserializeOwned + 'static> Document<T> {
    /// As [`crate::Document::update`]. The closure runs in the task that does the update, so it is
    /// not async and must be short. For a change that has to await something, [`lock`](Self::lock)
    /// the document.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn update<R: Send + 'static>(
        &self,
        tasks: impl IntoIterator<Item: AsRef<str>>,
        change: impl FnMut(&mut T) -> Result<R, BoxError> + Send + 'static,
    ) -> Result<(R, Outcome)> {
        self.update_with(Save::new().tasks(tasks), change).await
    }

    /// As [`crate::Document::update_with`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn update_with<R: Send + 'static>(
        &self,
        save: Save,
        change: impl FnMut(&mut T) -> Result<R, BoxError> + Send + 'static,
    ) -> Result<(R, Outcome)> {
        let document = self.0.clone();
        let update = async move { document.update_by(Net::Tasks, save, change).await };
        self.0.cache().to_its_end(Net::Tasks, update).await
    }
}

impl<T: Serialize + DeserializeOwned + 'static> Document<T> {
    /// As [`crate::Document::locked`]. The closure runs in the task that does the update, so it is
    /// not async and must be short, as with [`update`](Self::update).
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn locked<R: Send + 'static>(
        &self,
        change: impl FnOnce(&mut T) -> Result<R, BoxError> + Send + 'static,
    ) -> Result<R> {
        let locked = self.locked_with(Save::new(), change);
        locked.await.map(|(result, _)| result)
    }

    /// As [`crate::Document::locked_with`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn locked_with<R: Send + 'static>(
        &self,
        save: Save,
        change: impl FnOnce(&mut T) -> Result<R, BoxError> + Send + 'static,
    ) -> Result<(R, Outcome)> {
        let document = self.0.clone();
        let locked = async move { document.locked_by(Net::Tasks, save, change).await };
        self.0.cache().to_its_end(Net::Tasks, locked).await
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> Document<T> {
    /// As [`crate::Document::read`]: one system call in the caller's task if the file is unchanged,
    /// otherwise in a thread that may block.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn read(&self) -> Result<Arc<T>> {
        if let Some(value) = self.0.read_hot() {
            return Ok(value);
        }
        let document = self.0.clone();
        self.0.cache().aside(move || document.read()).await
    }
}

impl<T: DeserializeOwned> Target for Document<T> {
    type Content = T;

    fn document(&self) -> crate::Document<()> {
        self.0.untyped()
    }
}

impl<T> From<crate::Document<T>> for Document<T> {
    fn from(document: crate::Document<T>) -> Self {
        Self(document)
    }
}

impl<T> From<Document<T>> for crate::Document<T> {
    fn from(document: Document<T>) -> Self {
        document.0
    }
}

impl<T> Clone for Document<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Document<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

use super::{Cache, Document};
use crate::{
    engine::Net,
    model::Result,
    rules::Params,
    store::{HeldLock, ListedDocument, StoreBuilder},
};

/// A [`crate::Store`] for tasks. Cheap to clone.
///
/// Dropping a future of [`documents`](Self::documents) or [`locks`](Self::locks) has no effect; one
/// of [`clear_locks`](Self::clear_locks) runs to completion. For transactions, see
/// [`transaction`](Self::transaction).
///
/// # Examples
///
/// ```
/// use cachetx::{Cache, RawObject, Rules, Store};
///
/// # fn main() -> Result<(), cachetx::BoxError> {
/// # let root = tempfile::tempdir()?;
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let cache = Cache::builder(Rules::from_path("rules/nodb.json")?).in_memory().open_async().await?;
/// let store = Store::builder(&cache).root(root.path()).open_async().await?;
/// let climate = store.document::<RawObject>("copacetic-sled", "climate")?;
/// climate.create(&RawObject::from_json("{}")?).await?;
/// let held = climate.lock().await?;
/// held.dump_and_unlock_with_transaction(["build_climate"]).await?;
/// cache.close().await?;
/// # Ok::<(), cachetx::BoxError>(())
/// # })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Store(crate::Store);

impl Store {
    /// As [`crate::Store::document`]. Does not wait.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn document<T>(&self, run: &str, controller: &str) -> Result<Document<T>> {
        self.0.document(run, controller).map(Document::from)
    }

    /// As [`crate::Store::document_with`]. Does not wait.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn document_with<T>(
        &self,
        run: &str,
        controller: &str,
        params: Params,
    ) -> Result<Document<T>> {
        self.0
            .document_with(run, controller, params)
            .map(Document::from)
    }
}

impl Store {
    /// As [`crate::Store::builder`]. Call [`StoreBuilder::open_async`].
    pub fn builder(cache: impl Into<crate::Cache>) -> StoreBuilder {
        crate::Store::builder(cache)
    }

    /// The cache of this store.
    #[must_use]
    pub fn cache(&self) -> Cache {
        self.0.cache().clone().into()
    }

    /// As [`crate::Store::documents`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn documents(&self, run: &str) -> Result<Vec<ListedDocument>> {
        let (store, run) = (self.0.clone(), run.to_owned());
        self.0.cache().aside(move || store.documents(&run)).await
    }

    /// As [`crate::Store::locks`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn locks(&self, run: &str) -> Result<Vec<HeldLock>> {
        let (store, run) = (self.0.clone(), run.to_owned());
        self.0.cache().aside(move || store.locks(&run)).await
    }

    /// As [`crate::Store::clear_locks`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn clear_locks(&self, run: &str) -> Result<u64> {
        let (store, run) = (self.0.clone(), run.to_owned());
        self.0.cache().aside(move || store.clear_locks(&run)).await
    }
}

impl StoreBuilder {
    /// As [`open`](Self::open), in a tokio task.
    ///
    /// # Errors
    ///
    /// As there.
    #[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
    pub async fn open_async(self) -> Result<Store> {
        Net::Tasks.aside(move || self.open()).await.map(Store)
    }
}

impl Store {
    pub(super) fn blocking(&self) -> &crate::Store {
        &self.0
    }
}

impl From<crate::Store> for Store {
    fn from(store: crate::Store) -> Self {
        Self(store)
    }
}

impl From<Store> for crate::Store {
    fn from(store: Store) -> Self {
        store.0
    }
}

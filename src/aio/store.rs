use super::Document;
use crate::{model::Result, rules::Params};

/// A [`crate::Store`] for tasks. Cheap to clone.
///
/// # Examples
///
/// ```
/// use cachetx::{Cache, NO_TASKS, RawObject, Rules, aio};
///
/// # fn main() -> Result<(), cachetx::BoxError> {
/// # let root = tempfile::tempdir()?;
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let cache = Cache::builder(Rules::from_path("rules/nodb.json")?).in_memory().open()?;
/// let store = cachetx::Store::builder(&cache).root(root.path()).open()?;
/// let store = aio::Store::from(store);
/// let climate = store.document::<RawObject>("copacetic-sled", "climate")?;
/// climate.create(RawObject::from_json("{}")?).await?;
/// let held = climate.lock().await?;
/// held.dump_and_unlock().await?;
/// # Ok::<(), cachetx::BoxError>(())
/// # })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Store(crate::Store);

impl Store {
    /// As [`crate::Store::document`]. Waits for nothing.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn document<T>(&self, run: &str, controller: &str) -> Result<Document<T>> {
        self.0.document(run, controller).map(Document::from)
    }

    /// As [`crate::Store::document_with`]. Waits for nothing.
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

use super::{Store, Unsaved};
use crate::{
    engine::Net,
    model::Result,
    protocol::Outcome,
    store::{self, Documents, LostLock, Parse, Save, Values},
};
use std::{
    fmt,
    ops::{Deref, DerefMut},
    time::Duration,
};

/// A [`crate::Transaction`] for tasks: several documents of one store, locked together. Dropping it
/// releases all locks without saving, in a thread of the cache.
///
/// A commit whose future is dropped runs to completion; the guard is not returned then.
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
/// let mut both = store.transaction((&tea,)).await?; // up to eight
/// both.0["cents"] = 500.into();
/// both.commit(["reprice"]).await?;
/// # Ok(()) }
/// ```
#[must_use = "dropping it releases the locks without saving"]
pub struct Transaction<V>(store::Transaction<V>);

impl Store {
    /// As [`crate::Store::transaction`], of documents for tasks. Dropping the future leaves no lock
    /// held: locks that are still granted are released.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn transaction<D>(&self, documents: D) -> Result<Transaction<D::Values>>
    where
        D: Documents,
        D::Values: Send + 'static,
    {
        self.transaction_timeout(documents, self.blocking().lock_wait())
            .await
    }

    /// As [`crate::Store::transaction_timeout`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn transaction_timeout<D>(
        &self,
        documents: D,
        wait: Duration,
    ) -> Result<Transaction<D::Values>>
    where
        D: Documents,
        D::Values: Send + 'static,
    {
        let store = self.blocking().clone();
        begin(store, documents.targets(), D::parse, wait).await
    }
}

async fn begin<V: Send + 'static>(
    store: crate::Store,
    targets: Vec<crate::Document<()>>,
    parse: Parse<V>,
    wait: Duration,
) -> Result<Transaction<V>> {
    let cache = store.cache().clone();
    let lock = async move { store.transaction_by(Net::Tasks, targets, parse, wait).await };
    let locked = cache.while_wanted(Net::Tasks, lock);
    locked.await.map(Transaction)
}

impl<V> Transaction<V> {
    /// As [`crate::Transaction::unlock`]. The locks are free when this returns; after a drop they
    /// are free a moment later. If the future is dropped, the release runs to completion.
    pub async fn unlock(this: Self) -> V
    where
        V: Send + 'static,
    {
        this.0.unlock_by().await
    }

    /// As [`crate::Transaction::on_lost`].
    pub fn on_lost(this: &mut Self, hook: impl Fn(&LostLock) + Send + Sync + 'static) {
        store::Transaction::on_lost(&mut this.0, hook);
    }

    /// As [`crate::Transaction::renew`]. If the future is dropped, some of them may have been
    /// renewed.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn renew(this: &mut Self) -> Result<()> {
        this.0.renew_by().await
    }

    /// As [`crate::Transaction::is_lost`].
    #[must_use]
    pub fn is_lost(this: &Self) -> bool {
        store::Transaction::is_lost(&this.0)
    }

    /// As [`crate::Transaction::remaining`].
    #[must_use]
    pub fn remaining(this: &Self) -> Duration {
        store::Transaction::remaining(&this.0)
    }
}

impl<V: Values + Send + 'static> Transaction<V> {
    /// As [`crate::Transaction::commit`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn commit(
        self,
        tasks: impl IntoIterator<Item: AsRef<str>>,
    ) -> Result<Outcome, Unsaved<Self>> {
        self.commit_with(Save::new().tasks(tasks)).await
    }

    /// As [`crate::Transaction::commit_with`].
    ///
    /// # Errors
    ///
    /// As there. If the runtime shuts down meanwhile, the guard is not returned.
    pub async fn commit_with(self, save: Save) -> Result<Outcome, Unsaved<Self>> {
        let cache = self.0.cache().clone();
        let commit = async move { Ok(self.0.commit_by(save).await) };
        let committed = cache.to_its_end(Net::Tasks, commit);
        Unsaved::or(committed.await, |failed| {
            let (error, transaction) = failed.into_parts();
            (error, Self(transaction))
        })
    }
}

impl<V> Deref for Transaction<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.0
    }
}

impl<V> DerefMut for Transaction<V> {
    fn deref_mut(&mut self) -> &mut V {
        &mut self.0
    }
}

impl<V: fmt::Debug> fmt::Debug for Transaction<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
